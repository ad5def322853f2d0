#!/usr/bin/env python3
"""Writes the golden vectors of this folder: bytes on the wire, and what a receiver makes of them.

    python3 generate.py                 writes them beside this file
    python3 generate.py --check [DIR]   exits 1 where the files in DIR differ from what would be written

This is a second implementation of docs/protocol.md (sections 2, 3 and 5.1), on the standard library alone. It shares
nothing with the Rust one. Every case below states its outcome by hand; the small reader here has to agree before
anything is written, so that a slip in a case shows at once. The same input always gives the same bytes.
"""

import argparse
import hashlib
import json
import pathlib
import re
import struct
import sys
import zlib

# ---------------------------------------------------------------------------------------------------------------------
# Frames
# ---------------------------------------------------------------------------------------------------------------------


def seal_json(text):
    """The bytes of a JSON frame: the text and its CRC-32."""
    if isinstance(text, str):
        text = text.encode()
    return text + struct.pack(">I", zlib.crc32(text))


def seal_struct(head):
    """The bytes of a struct frame: everything, then the XOR of everything."""
    check = 0
    for byte in head:
        check ^= byte
    return head + bytes([check])


def encode_json(service_id, data_id, status, data_text, message_id=None):
    """How our side writes a message as a JSON frame."""
    text = f'{{"data_id":{data_id},"service_id":{service_id},"status":{status},"data":{data_text}'
    if message_id is not None:
        text += f',"message_id":{message_id}'
    return seal_json(text + "}")


def encode_struct(service_id, data_id, status, data_text):
    """How our side writes a message as a struct frame."""
    return seal_struct(struct.pack(">III", status, service_id, data_id) + data_text.encode())


# ---------------------------------------------------------------------------------------------------------------------
# A reader, to hold the cases below to the rules
# ---------------------------------------------------------------------------------------------------------------------

MAX_NESTING = 127
SPACE = " \t\n\r"
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
INTEGER = re.compile(r"0|[1-9][0-9]*")
BARE_WORD = re.compile(r'("(?:[^"\\]|\\.)*")|-?\bInfinity\b|\bNaN\b', re.DOTALL)
FIELDS = {  # lowest and highest value
    "service_id": (0, 2**32 - 1),
    "data_id": (0, 2**32 - 1),
    "status": (0, 2**24 - 1),
    "message_id": (1, 2**53 - 1),
}


class Malformed(Exception):
    pass


def skip_space(text, at):
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def skip_string(text, at):
    found = STRING.match(text, at)
    if not found:
        raise Malformed("string")
    return found.end()


def skip_value(text, at):
    """The position behind the JSON value that begins at `at`."""
    if text[at : at + 1] == '"':
        return skip_string(text, at)
    if text[at : at + 1] in ("{", "["):
        return skip_container(text, at)
    found = SCALAR.match(text, at)
    if not found:
        raise Malformed("value")
    return found.end()


def skip_container(text, at):
    is_object = text[at] == "{"
    close = "}" if is_object else "]"
    at = skip_space(text, at + 1)
    if text[at : at + 1] == close:
        return at + 1
    while True:
        if is_object:
            at = skip_space(text, skip_string(text, at))
            if text[at : at + 1] != ":":
                raise Malformed("colon")
            at = skip_space(text, at + 1)
        at = skip_space(text, skip_value(text, at))
        mark = text[at : at + 1]
        if mark == close:
            return at + 1
        if mark != ",":
            raise Malformed("comma")
        at = skip_space(text, at + 1)


def nesting(text):
    """The deepest level of brackets outside strings."""
    depth = deepest = 0
    at = 0
    while at < len(text):
        if text[at] == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif text[at] in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif text[at] in "}]":
            depth -= 1
        at += 1
    return deepest


def read_text(raw, parse):
    """Parses UTF-8 JSON; where that fails, once more with null in place of the bare words of Python."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("utf-8") from error
    try:
        return parse(text)
    except Malformed:
        repaired = BARE_WORD.sub(lambda found: found.group(1) or "null", text)
        if repaired == text:
            raise
        return parse(repaired)


def whole_value(text):
    begin = skip_space(text, 0)
    end = skip_value(text, begin)
    if skip_space(text, end) != len(text):
        raise Malformed("trailing characters")
    return begin, end


def parse_envelope(text):
    if nesting(text) > MAX_NESTING:
        raise Malformed("nesting")
    begin, _ = whole_value(text)
    if text[begin] != "{":
        raise Malformed("not an object")
    found = {}
    at = skip_space(text, begin + 1)
    while text[at] != "}":
        end = skip_string(text, at)
        key = json.loads(text[at:end])
        at = skip_space(text, skip_space(text, end) + 1)
        end = skip_value(text, at)
        if key == "data" or key in FIELDS:
            if key in found:
                raise Malformed("given twice")
            found[key] = text[at:end]
        at = skip_space(text, end)
        if text[at] == ",":
            at = skip_space(text, at + 1)
    for key, (lowest, highest) in FIELDS.items():
        if key in found:
            if not INTEGER.fullmatch(found[key]) or not lowest <= int(found[key]) <= highest:
                raise Malformed(key)
            found[key] = int(found[key])
    if "service_id" not in found or "data_id" not in found:
        raise Malformed("ids missing")
    get = found.get
    return expected(get("service_id"), get("data_id"), get("status", 0), get("data", "null"), get("message_id"))


def parse_data(text):
    if nesting(text) > MAX_NESTING - 1:  # the JSON frame of the same message has one level more
        raise Malformed("nesting")
    begin, end = whole_value(text)
    return text[begin:end]


def read_frame(frame):
    """The message of a frame, or the text of an invalid vector's file."""
    if frame[:1] == b"\0":
        if len(frame) < 14:
            return "malformed"
        head, check = frame[:-1], frame[-1:]
        intact = seal_struct(head)[-1:] == check
        parse = read_struct
    elif frame.lstrip(SPACE.encode())[:1] == b"{" and len(frame) >= 6:
        head, check = frame[:-4], frame[-4:]
        intact = struct.pack(">I", zlib.crc32(head)) == check
        parse = read_json
    else:
        return "malformed"
    try:
        message = parse(head)
    except Malformed:
        if intact:
            return "malformed"
        if parse is read_json:
            return "checksum"
        message = struct_message(head, "null")  # its ids are in their place whatever the data are
    if intact:
        return message
    return "checksum-with-envelope {service_id} {data_id} {}".format(message["message_id"] or "-", **message)


def read_json(head):
    return read_text(head, parse_envelope)


def read_struct(head):
    return struct_message(head, read_text(head[12:], parse_data))


def struct_message(head, data_text):
    status, service_id, data_id = struct.unpack(">III", head[:12])
    return expected(service_id, data_id, status, data_text)


def expected(service_id, data_id, status, data_text, message_id=None):
    return {
        "service_id": service_id,
        "data_id": data_id,
        "status": status,
        "message_id": message_id,
        "data_text": data_text,
    }


# ---------------------------------------------------------------------------------------------------------------------
# The cases: JSON frames
# ---------------------------------------------------------------------------------------------------------------------

HEAD = '"data_id":1,"service_id":10'
CANONICAL = '{"data_id":1,"service_id":10,"status":0,"data":null}'


def canonical(service_id, data_id, status, data_text, message_id=None):
    return (
        encode_json(service_id, data_id, status, data_text, message_id),
        expected(service_id, data_id, status, data_text, message_id),
    )


def taken(text, service_id=10, data_id=1, status=0, data_text="null", message_id=None):
    return seal_json(text), expected(service_id, data_id, status, data_text, message_id)


def with_data(data_text, kept=None):
    text = f'{{"data_id":1,"service_id":10,"status":0,"data":{data_text}}}'
    return taken(text, data_text=data_text if kept is None else kept)


def nested(levels):
    return "[" * levels + "]" * levels


def nested_objects(levels):
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


JSON_VALID = {
    # the layout
    "a_read_request": canonical(10, 1, 0, "null"),
    "a_response_with_a_number": canonical(11, 1, 0, "21.5"),
    "an_error_response": canonical(21, 2, 6, '{"error":"between 5 and 30"}'),
    "ids_of_zero": canonical(0, 0, 0, "null"),
    "ids_and_status_at_their_maximum": canonical(4294967295, 4294967295, 16777215, "null"),
    "a_message_id_is_written_last": canonical(10, 1, 0, "null", 7),
    "message_id_1_is_the_smallest": canonical(10, 1, 0, "null", 1),
    "message_id_2_to_53_minus_1_is_the_largest": canonical(10, 1, 0, "null", 9007199254740991),
    "a_hello_request": canonical(
        4294901760,
        0,
        0,
        '{"session":"0123456789abcdef","features":["message_id","heartbeat","cancel"],'
        '"max_frame":8388608,"max_in_flight":256}',
    ),
    "a_heartbeat_request": canonical(4294901762, 0, 0, '{"session":"0123456789abcdef"}'),
    "a_heartbeat_response": canonical(4294901763, 0, 0, '{"session":"fedcba9876543210"}'),
    # leniency in the envelope
    "status_missing_is_zero": taken("{" + HEAD + ',"data":5}', data_text="5"),
    "data_missing_is_null": taken("{" + HEAD + ',"status":3}', status=3),
    "status_and_data_missing": taken("{" + HEAD + "}"),
    "keys_in_any_order": taken(
        '{"message_id":9,"data":"x","status":4,"service_id":11,"data_id":2}', 11, 2, 4, '"x"', 9
    ),
    "python_writes_blanks_behind_separators": taken(
        '{"data_id": 1, "service_id": 10, "status": 0, "data": [1, 2]}', data_text="[1, 2]"
    ),
    "white_space_around_the_text": taken(" \t\r\n" + CANONICAL + "\r\n\t "),
    "white_space_around_every_token": taken(
        '{ "data_id"\t:\n1 ,\r\n"service_id" : 10 , "data" :  [ 1 ]  , "status" : 0 }', data_text="[ 1 ]"
    ),
    "unknown_keys_are_ignored": taken(
        '{"data_id":1,"version":2,"service_id":10,"trace":{"data":[1,{"status":9}]},"data":5}', data_text="5"
    ),
    "an_unknown_key_may_be_given_twice": taken('{"x":1,' + HEAD + ',"x":2}'),
    "keys_of_another_case_are_unknown": taken("{" + HEAD + ',"Status":5,"DATA":5}'),
    "the_empty_key_is_unknown": taken("{" + HEAD + ',"":5}'),
    "a_key_spelt_with_escapes_is_the_same_key": taken(
        '{"data\\u005fid":1,"\\u0073ervice_id":10,"statu\\u0073":2,"d\\u0061ta":true}', status=2, data_text="true"
    ),
    "names_of_the_envelope_inside_data_are_data": with_data('{"data_id":9,"service_id":9,"data":{"message_id":0}}'),
    # data stays the text it was
    "every_json_type_in_data": with_data('[null,true,false,0,-1,1.5,"text",[],{}]'),
    "white_space_inside_data_stays": with_data('{ "a" : [ 1 ,\t2 ] ,\n"b" : { } }'),
    "white_space_around_data_is_not_part_of_it": with_data(' \n"x"\t ', '"x"'),
    "numbers_of_any_size_keep_their_digits": with_data(
        "[123456789012345678901234567890,-170141183460469231731687303715884105729,1e999,18446744073709551616]"
    ),
    "float_digits_are_kept": with_data("[0.1000000000000000055511151231257827,1.0,1.50,1e2,1E+2,-0,-0.0,5e-324]"),
    "a_key_given_twice_inside_data_stays": with_data('{"a":1,"a":2}'),
    "lone_surrogate_escape_passes_unchanged": with_data('["\\ud800","\\udc00x","\\uD83D"]'),
    "escapes_are_not_resolved_in_data": with_data('"\\u0041\\/\\b\\f\\n\\r\\t\\"\\\\\\ud83d\\ude00"'),
    "an_escaped_nul_stays": with_data('"\\u0000"'),
    "unicode_of_two_three_and_four_bytes": with_data('"é°C – 温度 😀"'),
    "line_separators_stay_raw": with_data('"\u2028\u2029"'),
    "a_delete_character_is_no_control_character_in_json": with_data('"\x7f"'),
    "brackets_inside_strings_do_not_nest": with_data('"' + "[{" * 200 + '\\"[[["'),
    "an_escaped_quote_does_not_end_a_string": with_data('"a\\"b\\\\"'),
    "colons_and_stuffing_bytes_are_ordinary_text": with_data('"::<:=:>"'),
    "an_empty_string": with_data('""'),
    # nesting
    "nesting_127_is_taken": with_data(nested(126)),
    "nesting_127_of_objects_is_taken": with_data(nested_objects(126)),
    "many_siblings_are_not_deep": with_data("[" + ",".join(["[[]]"] * 100) + "]"),
    # the bare words of Python
    "nan_outside_strings_becomes_null": with_data("NaN", "null"),
    "infinities_become_null": with_data('{"a":Infinity,"b":-Infinity,"c":[NaN]}', '{"a":null,"b":null,"c":[null]}'),
    "nan_inside_a_string_stays": with_data(
        '[NaN,"NaN","a \\"Infinity\\" -Infinity"]', '[null,"NaN","a \\"Infinity\\" -Infinity"]'
    ),
    "bare_words_inside_strings_alone_change_nothing": with_data('"NaN Infinity -Infinity"'),
    "nan_as_an_object_key_in_quotes_stays": with_data('{"NaN":NaN}', '{"NaN":null}'),
    "nan_under_an_unknown_key_is_ignored": taken("{" + HEAD + ',"x":NaN,"data":1}', data_text="1"),
}


def flipped(frame, at=-1, bit=1):
    changed = bytearray(frame)
    changed[at] ^= bit
    return bytes(changed)


def malformed(text):
    return seal_json(text), "malformed"


def malformed_data(data_text):
    return malformed(f'{{"data_id":1,"service_id":10,"status":0,"data":{data_text}}}')


def malformed_field(name, value):
    fields = {"data_id": "1", "service_id": "10", "status": "0", "data": "null", name: value}
    return malformed("{" + ",".join(f'"{key}":{text}' for key, text in fields.items()) + "}")


JSON_INVALID = {
    # no frame at all
    "an_empty_frame_is_malformed": (b"", "malformed"),
    "a_lone_brace_is_malformed": (b"{", "malformed"),
    "a_frame_of_5_bytes_is_malformed": (seal_json("{"), "malformed"),
    "blanks_alone_are_malformed": malformed("      "),
    "an_array_is_malformed": malformed("[10,1,0,null]"),
    "a_string_is_malformed": malformed('"text"'),
    "an_http_request_is_malformed": (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
    "a_byte_order_mark_is_malformed": malformed(b"\xef\xbb\xbf" + CANONICAL.encode()),
    "utf_16_is_malformed": malformed(CANONICAL.encode("utf-16-be")[1:]),
    # the text
    "the_empty_object_lacks_its_ids": malformed("{}"),
    "text_that_ends_early_is_malformed": malformed(CANONICAL[:-1]),
    "a_nul_behind_the_text_is_malformed": malformed(CANONICAL + "\0"),
    "a_second_object_behind_the_text_is_malformed": malformed(CANONICAL + CANONICAL),
    "a_letter_behind_the_text_is_malformed": malformed(CANONICAL + "x"),
    "a_no_break_space_is_not_white_space": malformed(CANONICAL + "\u00a0"),
    "a_form_feed_is_not_white_space": malformed("{\f" + CANONICAL[1:]),
    "a_trailing_comma_is_malformed": malformed("{" + HEAD + ",}"),
    "a_missing_comma_is_malformed": malformed('{"data_id":1 "service_id":10}'),
    "a_missing_colon_is_malformed": malformed('{"data_id" 1,"service_id":10}'),
    "a_key_without_quotes_is_malformed": malformed('{data_id:1,"service_id":10}'),
    "single_quotes_are_malformed": malformed("{'data_id':1,'service_id':10}"),
    "a_comment_is_malformed": malformed("{" + HEAD + "/* */}"),
    "invalid_utf_8_in_data_is_malformed": malformed(b'{"data_id":1,"service_id":10,"data":"\xff"}'),
    "overlong_utf_8_is_malformed": malformed(b'{"data_id":1,"service_id":10,"data":"\xc0\xaf"}'),
    "a_surrogate_in_utf_8_is_malformed": malformed(b'{"data_id":1,"service_id":10,"data":"\xed\xa0\x80"}'),
    "invalid_utf_8_under_an_unknown_key_is_malformed": malformed(b'{"data_id":1,"service_id":10,"x":"\xff"}'),
    "invalid_utf_8_in_an_unknown_key_is_malformed": malformed(b'{"data_id":1,"service_id":10,"\xff":1}'),
    "a_broken_value_under_an_unknown_key_is_malformed": malformed("{" + HEAD + ',"x":[1,]}'),
    # ids, status, message_id
    "service_id_missing_is_malformed": malformed('{"data_id":1,"status":0,"data":null}'),
    "data_id_missing_is_malformed": malformed('{"service_id":10,"status":0,"data":null}'),
    "data_id_of_another_case_is_missing": malformed('{"Data_ID":1,"service_id":10}'),
    "service_id_null_is_malformed": malformed_field("service_id", "null"),
    "data_id_null_is_malformed": malformed_field("data_id", "null"),
    "status_null_is_malformed": malformed_field("status", "null"),
    "message_id_null_is_malformed": malformed_field("message_id", "null"),
    "service_id_as_text_is_malformed": malformed_field("service_id", '"10"'),
    "service_id_true_is_malformed": malformed_field("service_id", "true"),
    "service_id_in_an_array_is_malformed": malformed_field("service_id", "[10]"),
    "service_id_nan_is_malformed": malformed_field("service_id", "NaN"),
    "service_id_with_fraction_is_malformed": malformed_field("service_id", "1.0"),
    "service_id_with_exponent_is_malformed": malformed_field("service_id", "1e2"),
    "service_id_negative_is_malformed": malformed_field("service_id", "-1"),
    "service_id_minus_zero_is_malformed": malformed_field("service_id", "-0"),
    "service_id_with_leading_zero_is_malformed": malformed_field("service_id", "010"),
    "service_id_with_plus_is_malformed": malformed_field("service_id", "+10"),
    "service_id_2_to_32_is_malformed": malformed_field("service_id", "4294967296"),
    "service_id_10_plus_2_to_64_is_malformed": malformed_field("service_id", "18446744073709551626"),
    "data_id_2_to_32_is_malformed": malformed_field("data_id", "4294967296"),
    "data_id_with_fraction_is_malformed": malformed_field("data_id", "1.0"),
    "data_id_minus_zero_is_malformed": malformed_field("data_id", "-0"),
    "status_2_to_24_is_malformed": malformed_field("status", "16777216"),
    "status_negative_is_malformed": malformed_field("status", "-1"),
    "status_with_exponent_is_malformed": malformed_field("status", "0e0"),
    "message_id_zero_is_malformed": malformed_field("message_id", "0"),
    "message_id_2_to_53_is_malformed": malformed_field("message_id", "9007199254740992"),
    "message_id_with_fraction_is_malformed": malformed_field("message_id", "7.0"),
    "message_id_as_text_is_malformed": malformed_field("message_id", '"7"'),
    # given twice
    "service_id_given_twice_is_malformed": malformed('{"service_id":10,' + HEAD + "}"),
    "data_id_given_twice_is_malformed": malformed('{"data_id":1,' + HEAD + "}"),
    "status_given_twice_is_malformed": malformed("{" + HEAD + ',"status":0,"status":0}'),
    "data_given_twice_is_malformed": malformed("{" + HEAD + ',"data":null,"data":null}'),
    "message_id_given_twice_is_malformed": malformed("{" + HEAD + ',"message_id":1,"message_id":1}'),
    "duplicate_key_spelt_with_escape_is_malformed": malformed("{" + HEAD + ',"data\\u005fid":1}'),
    # data
    "data_with_leading_zero_is_malformed": malformed_data("01"),
    "data_with_a_bare_point_is_malformed": malformed_data("1."),
    "data_in_hexadecimal_is_malformed": malformed_data("0x10"),
    "an_unknown_word_in_data_is_malformed": malformed_data("undefined"),
    "nan_in_another_case_is_malformed": malformed_data("nan"),
    "minus_nan_is_malformed": malformed_data("-NaN"),
    "plus_infinity_is_malformed": malformed_data("+Infinity"),
    "a_nan_does_not_heal_another_mistake": malformed_data("[NaN,]"),
    "nan_as_a_key_is_malformed": malformed_data("{NaN:1}"),
    "a_line_feed_inside_a_string_is_malformed": malformed_data('"a\nb"'),
    "a_nul_inside_a_string_is_malformed": malformed_data('"a\0b"'),
    "an_unknown_escape_is_malformed": malformed_data('"\\x41"'),
    "a_short_unicode_escape_is_malformed": malformed_data('"\\u12"'),
    "mismatched_brackets_are_malformed": malformed_data("[}"),
    "nesting_128_is_malformed": malformed_data(nested(127)),
    "nesting_128_of_objects_is_malformed": malformed_data(nested_objects(127)),
    "nesting_128_under_an_unknown_key_is_malformed": malformed("{" + HEAD + ',"x":' + nested(127) + "}"),
    "nesting_of_100000_is_malformed": malformed_data("[" * 100000),
    # the checksum is looked at first
    "a_flipped_bit_in_the_checksum": (
        flipped(encode_json(10, 1, 0, "null", 7)),
        "checksum-with-envelope 10 1 7",
    ),
    "a_flipped_bit_in_data_without_message_id": (
        flipped(encode_json(20, 2, 0, "22.5"), at=-6),
        "checksum-with-envelope 20 2 -",
    ),
    "a_checksum_in_little_endian": (
        CANONICAL.encode() + struct.pack("<I", zlib.crc32(CANONICAL.encode())),
        "checksum-with-envelope 10 1 -",
    ),
    "a_checksum_of_zeros": (CANONICAL.encode() + bytes(4), "checksum-with-envelope 10 1 -"),
    "a_flipped_bit_breaks_the_text": (flipped(encode_json(10, 1, 0, "null"), at=1), "checksum"),
    "a_wrong_checksum_on_a_text_without_ids": (flipped(seal_json("{}")), "checksum"),
    "a_wrong_checksum_on_an_id_out_of_range": (flipped(seal_json('{"data_id":1,"service_id":4294967296}')), "checksum"),
    "a_frame_that_lost_its_last_byte": (encode_json(10, 1, 0, "null")[:-1], "checksum"),
    "a_frame_that_gained_a_byte": (encode_json(11, 1, 0, "null") + b"\0", "checksum"),
}

# ---------------------------------------------------------------------------------------------------------------------
# The cases: struct frames
# ---------------------------------------------------------------------------------------------------------------------


def struct_case(service_id, data_id, status, data_text, kept=None):
    frame = encode_struct(service_id, data_id, status, data_text)
    return frame, expected(service_id, data_id, status, data_text if kept is None else kept)


STRUCT_VALID = {
    "a_read_request": struct_case(10, 1, 0, "null"),
    "a_response_with_a_number": struct_case(11, 1, 0, "21.5"),
    "an_error_response": struct_case(21, 2, 6, '{"error":"between 5 and 30"}'),
    "ids_of_zero": struct_case(0, 0, 0, "null"),
    "ids_and_status_at_their_maximum": struct_case(4294967295, 4294967295, 16777215, "null"),
    "one_digit_is_the_shortest_frame": struct_case(10, 1, 0, "7"),
    "fields_are_big_endian": struct_case(0x01020304, 0x05060708, 0x00090A0B, "0"),
    "a_checksum_of_zero": struct_case(0, 0, 0, '""'),
    "white_space_inside_data_stays": struct_case(11, 1, 0, '{ "a" : [ 1 , 2 ] }'),
    "white_space_around_data_is_not_part_of_it": struct_case(11, 1, 0, " \t\r\n5\n ", "5"),
    "numbers_of_any_size_keep_their_digits": struct_case(11, 1, 0, "[123456789012345678901234567890,1e999,-0.0]"),
    "lone_surrogate_escape_passes_unchanged": struct_case(11, 1, 0, '"\\ud800"'),
    "unicode_of_two_three_and_four_bytes": struct_case(11, 1, 0, '"é°C – 温度 😀"'),
    "a_key_given_twice_inside_data_stays": struct_case(11, 1, 0, '{"a":1,"a":2}'),
    "data_that_looks_like_an_envelope_is_data": struct_case(11, 1, 0, CANONICAL),
    "nan_outside_strings_becomes_null": struct_case(20, 2, 0, "NaN", "null"),
    "nan_inside_a_string_stays": struct_case(20, 2, 0, '[-Infinity,"NaN"]', '[null,"NaN"]'),
    "nesting_126_is_taken": struct_case(11, 1, 0, nested(126)),
}


def struct_malformed(data):
    return seal_struct(struct.pack(">III", 0, 10, 1) + data), "malformed"


STRUCT_INVALID = {
    "a_lone_zero_byte_is_malformed": (b"\0", "malformed"),
    "a_frame_without_data_is_malformed": (seal_struct(struct.pack(">III", 0, 10, 1)), "malformed"),
    "a_head_cut_short_is_malformed": (seal_struct(bytes(8)), "malformed"),
    "status_2_to_24_is_malformed": (encode_struct(10, 1, 0x01000000, "null"), "malformed"),
    "status_of_all_ones_is_malformed": (encode_struct(10, 1, 0xFFFFFFFF, "null"), "malformed"),
    "blanks_for_data_are_malformed": struct_malformed(b"  "),
    "data_that_end_early_are_malformed": struct_malformed(b"[1,"),
    "two_values_are_malformed": struct_malformed(b"1 2"),
    "a_nul_behind_the_data_is_malformed": struct_malformed(b"null\0"),
    "invalid_utf_8_is_malformed": struct_malformed(b'"\xff"'),
    "a_byte_order_mark_is_malformed": struct_malformed(b"\xef\xbb\xbfnull"),
    "a_number_with_leading_zero_is_malformed": struct_malformed(b"01"),
    "nan_in_another_case_is_malformed": struct_malformed(b"nan"),
    "a_line_feed_inside_a_string_is_malformed": struct_malformed(b'"a\nb"'),
    "nesting_127_is_malformed": struct_malformed(nested(127).encode()),
    "a_flipped_bit_in_the_checksum": (flipped(encode_struct(10, 1, 0, "null")), "checksum-with-envelope 10 1 -"),
    "a_flipped_bit_in_data": (flipped(encode_struct(20, 2, 0, "22.5"), at=-2), "checksum-with-envelope 20 2 -"),
    "a_flipped_bit_in_the_data_id": (flipped(encode_struct(20, 2, 0, "22.5"), at=11), "checksum-with-envelope 20 3 -"),
    "a_flipped_bit_that_breaks_the_data_leaves_the_ids": (
        flipped(encode_struct(10, 1, 0, "null"), at=12),
        "checksum-with-envelope 10 1 -",
    ),
    "a_crc_in_place_of_the_xor": (
        seal_json(struct.pack(">III", 0, 10, 1) + b"null"),
        "checksum-with-envelope 10 1 -",
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# The cases: streams
# ---------------------------------------------------------------------------------------------------------------------

GAP, BROKEN, CLOSED = "gap", "broken", "closed"
MAX_FRAME = 8 * 1024 * 1024


def stuff(payload):
    return b":<" + payload.replace(b":", b":=") + b":>"


def measure(payload):
    return struct.pack(">I", len(payload)) + payload


def frame(payload):
    return {"frame_hex": payload.hex()}


REQUEST = encode_json(10, 1, 0, "null", 7)
ANSWER = encode_json(11, 1, 0, '"a:b::c:<d:>e:=f:"')
STRUCT = encode_struct(10, 1, 0, "null")
EVERY_BYTE = bytes(range(256))

STP = {
    "an_empty_stream_holds_nothing": (b"", []),
    "one_frame": (stuff(REQUEST), [frame(REQUEST)]),
    "colons_are_stuffed": (stuff(ANSWER), [frame(ANSWER)]),
    "a_payload_of_colons": (b":<:=:=:=:>", [frame(b":::")]),
    "a_payload_of_every_byte": (stuff(EVERY_BYTE), [frame(EVERY_BYTE)]),
    "marks_without_their_colon_are_payload": (b":<<>=:>", [frame(b"<>=")]),
    "frames_glued_together": (
        stuff(REQUEST) + stuff(STRUCT) + stuff(ANSWER),
        [frame(REQUEST), frame(STRUCT), frame(ANSWER)],
    ),
    "a_frame_that_has_not_ended_is_not_given_out": (stuff(b"one") + b":<two", [frame(b"one")]),
    "a_last_colon_waits_for_its_second_byte": (stuff(b"one") + b":<two:", [frame(b"one")]),
    "noise_before_a_frame_is_one_gap": (b"noise" + stuff(b"one"), [GAP, frame(b"one")]),
    "a_line_feed_between_frames_is_a_gap": (
        stuff(b"one") + b"\r\n" + stuff(b"two"),
        [frame(b"one"), GAP, frame(b"two")],
    ),
    "each_run_of_noise_is_its_own_gap": (
        b"x" + stuff(b"one") + b"yy" + stuff(b"two"),
        [GAP, frame(b"one"), GAP, frame(b"two")],
    ),
    "an_end_outside_a_frame_is_noise": (b":>" + stuff(b"one"), [GAP, frame(b"one")]),
    "an_escape_outside_a_frame_is_noise": (b":=" + stuff(b"one"), [GAP, frame(b"one")]),
    "a_frame_joined_in_its_middle_is_a_gap": (b"lf a frame:>" + stuff(b"one"), [GAP, frame(b"one")]),
    "a_colon_before_a_beginning_does_not_hide_it": (b":" + stuff(b"one"), [GAP, frame(b"one")]),
    "many_colons_before_a_beginning_do_not_hide_it": (b":::::" + stuff(b"one"), [GAP, frame(b"one")]),
    "an_empty_frame_is_broken": (b":<:>" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "a_beginning_inside_a_frame_starts_anew": (b":<lost" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "a_beginning_right_behind_another_starts_anew": (b":<" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "an_undefined_escape_drops_the_frame": (b":<lost:x" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "the_rest_of_a_dropped_frame_belongs_to_it": (b":<lost:xrest:>" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "noise_behind_the_rest_of_a_dropped_frame_is_no_gap_of_its_own": (
        b":<lost:xrest:>noise:=" + stuff(b"one") + b"noise" + stuff(b"two"),
        [BROKEN, frame(b"one"), GAP, frame(b"two")],
    ),
    "noise_behind_an_empty_frame_is_a_gap": (b":<:>noise" + stuff(b"one"), [BROKEN, GAP, frame(b"one")]),
    "a_nul_behind_a_colon_drops_the_frame": (b":<lost:\0" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "a_colon_behind_a_colon_begins_a_new_pair_inside_a_frame": (b":<lost:" + stuff(b"one"), [BROKEN, frame(b"one")]),
    "a_colon_behind_a_colon_drops_the_frame_before_its_end": (
        b":<lost::>" + stuff(b"one"),
        [BROKEN, frame(b"one")],
    ),
    "two_broken_frames_are_reported_each": (b":<a:x:<b:y" + stuff(b"one"), [BROKEN, BROKEN, frame(b"one")]),
    "a_good_frame_between_two_broken_ones": (
        b":<a:x" + stuff(b"one") + b":<:>" + stuff(b"two"),
        [BROKEN, frame(b"one"), BROKEN, frame(b"two")],
    ),
    "a_bad_frame_is_still_a_frame_here": (stuff(b"{not json"), [frame(b"{not json")]),
}

LENGTH = {
    "an_empty_stream_holds_nothing": (b"", []),
    "one_frame": (measure(REQUEST), [frame(REQUEST)]),
    "the_length_is_big_endian": (b"\0\0\x01\x02" + bytes(258), [frame(bytes(258))]),
    "frames_glued_together": (
        measure(REQUEST) + measure(STRUCT) + measure(ANSWER),
        [frame(REQUEST), frame(STRUCT), frame(ANSWER)],
    ),
    "nothing_is_stuffed": (measure(b":<a:=b:>"), [frame(b":<a:=b:>")]),
    "a_payload_of_every_byte": (measure(EVERY_BYTE), [frame(EVERY_BYTE)]),
    "a_length_of_zero_is_an_empty_frame": (measure(b"") + measure(b"one"), [frame(b""), frame(b"one")]),
    "a_length_cut_short_waits": (measure(b"one") + b"\0\0\0", [frame(b"one")]),
    "a_payload_cut_short_waits": (measure(b"one") + measure(b"two")[:-1], [frame(b"one")]),
    "a_length_of_the_default_limit_waits_for_its_bytes": (struct.pack(">I", MAX_FRAME) + b"{", []),
    "a_length_above_the_default_limit_closes": (struct.pack(">I", MAX_FRAME + 1), [CLOSED]),
    "a_length_above_any_limit_closes": (measure(b"one") + b"\x0f\xff\xff\xff{}", [frame(b"one"), CLOSED]),
    "the_other_framing_in_the_middle_closes": (measure(b"one") + stuff(b"two"), [frame(b"one"), CLOSED]),
}


def read_stp(stream):
    pieces = []
    payload = None  # None outside a frame
    noise = False  # whether bytes were dropped since the last frame that were no part of a broken one
    rest = False  # whether what comes is still the rest of a broken frame
    at = 0
    while at < len(stream):
        pair = stream[at : at + 2]
        if pair[:1] == b":" and len(pair) < 2:
            break
        if pair == b":<":
            if payload is not None:
                pieces.append(BROKEN)
            elif noise:
                pieces.append(GAP)
            payload, noise, rest = bytearray(), False, False
            at += 2
        elif payload is None:
            noise = not rest
            at += 1
        elif pair == b":>":
            pieces.append(frame(bytes(payload)) if payload else BROKEN)
            payload = None
            at += 2
        elif pair == b":=":
            payload += b":"
            at += 2
        elif pair[:1] == b":":
            pieces.append(BROKEN)
            payload, rest = None, True
            # What follows a colon is used up with it, unless it is a colon: that one begins a new pair.
            at += 1 if pair == b"::" else 2
        else:
            payload.append(stream[at])
            at += 1
    return pieces


def read_length(stream):
    pieces = []
    while len(stream) >= 4:
        (length,) = struct.unpack(">I", stream[:4])
        if length > MAX_FRAME:
            return pieces + [CLOSED]
        if len(stream) < 4 + length:
            break
        pieces.append(frame(stream[4 : 4 + length]))
        stream = stream[4 + length :]
    return pieces


# ---------------------------------------------------------------------------------------------------------------------
# The cases: legacy authentication
# ---------------------------------------------------------------------------------------------------------------------

SENTINEL_SEED = "000102030405060708090a0b0c0d0e0f1011121314151617" + "535076320044574e"
RANDOM_SEED = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

AUTH = {
    "an_ascii_secret": (RANDOM_SEED, "correct horse battery staple"),
    "a_secret_in_utf_8": (RANDOM_SEED, "пароль-密码-ключ-🔑"),
    "a_secret_that_looks_like_hex_is_not_decoded": (RANDOM_SEED, "6d1b1c5f0e9a7b83a4c2d1e0f9b8a7966d1b1c5f0e9a7b83"),
    "hex_in_upper_case_is_another_secret": (RANDOM_SEED, "6D1B1C5F0E9A7B83A4C2D1E0F9B8A7966D1B1C5F0E9A7B83"),
    "a_secret_longer_than_a_block_of_the_hash": (RANDOM_SEED, "0123456789abcdef" * 12),
    "a_secret_with_blanks_at_its_ends_keeps_them": (RANDOM_SEED, "  blanks at both ends  "),
    "a_seed_of_zeros": ("0" * 64, "correct horse battery staple"),
    "a_seed_in_upper_case_is_hashed_as_it_was_sent": (RANDOM_SEED.upper(), "correct horse battery staple"),
    "a_seed_that_ends_in_the_sentinel": (SENTINEL_SEED, "correct horse battery staple"),
}


def key_of(seed, secret):
    return hashlib.sha512(seed.encode("ascii") + secret.encode("utf-8")).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Writing and checking
# ---------------------------------------------------------------------------------------------------------------------


def pretty(value):
    """ASCII only, so that no editor and no checkout changes a byte."""
    return (json.dumps(value, indent=2) + "\n").encode()


def frame_files(folder, valid, invalid, encode):
    for name, (raw, message) in valid.items():
        assert read_frame(raw) == message, f"{folder}: {name}: {read_frame(raw)}"
        fields = [message["service_id"], message["data_id"], message["status"], message["data_text"]]
        again = encode(*fields, message["message_id"]) if message["message_id"] else encode(*fields)
        yield f"{folder}/valid/{name}.bin", raw
        yield f"{folder}/valid/{name}.json", pretty({**message, "canonical": again == raw})
    for name, (raw, outcome) in invalid.items():
        assert read_frame(raw) == outcome, f"{folder}: {name}: {read_frame(raw)}"
        yield f"{folder}/invalid/{name}.bin", raw
        yield f"{folder}/invalid/{name}.txt", outcome.encode() + b"\n"


def stream_files(folder, cases, read):
    for name, (stream, pieces) in cases.items():
        assert read(stream) == pieces, f"{folder}: {name}: {read(stream)}"
        yield f"{folder}/{name}.bin", stream
        yield f"{folder}/{name}.json", pretty(pieces)


def auth_files():
    for name, (seed, secret) in AUTH.items():
        yield f"auth/{name}.json", pretty({"seed": seed, "secret": secret, "key": key_of(seed, secret)})


def all_files():
    yield from frame_files("frames/json", JSON_VALID, JSON_INVALID, encode_json)
    yield from frame_files("frames/struct", STRUCT_VALID, STRUCT_INVALID, encode_struct)
    yield from stream_files("streams/stp", STP, read_stp)
    yield from stream_files("streams/length", LENGTH, read_length)
    yield from auth_files()


def existing_files(root, folders):
    for folder in folders:
        for path in (root / folder).rglob("*"):
            if path.is_file():
                yield path.relative_to(root).as_posix()


def check(root, folders, files):
    """The names of the files that are missing, differ or should not be there."""
    stale = set(existing_files(root, folders)) - set(files)
    for name, content in files.items():
        path = root / name
        if not path.is_file():
            yield f"missing: {name}"
        elif path.read_bytes() != content:
            yield f"differs: {name}"
    for name in sorted(stale):
        yield f"not generated: {name}"


def run(folders, all_files):
    """The program of whoever writes these folders; gives its exit code."""
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Writes the golden vectors, or checks them.")
    parser.add_argument("--check", nargs="?", const=here, type=pathlib.Path, metavar="DIR")
    arguments = parser.parse_args()
    files = dict(all_files())
    if arguments.check:
        problems = list(check(arguments.check, folders, files))
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1 if problems else 0
    for name in set(existing_files(here, folders)) - set(files):
        (here / name).unlink()
    for name, content in files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(run(("frames", "streams", "auth"), all_files))
