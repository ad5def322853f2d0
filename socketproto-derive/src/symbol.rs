//! Every word of the attributes, once, with where it may stand and how it is written.
//!
//! A new word is a row of [`SYMBOLS`]; "expected one of", "belongs on the struct" and "takes no value" follow from it.

use std::borrow::Cow;

use crate::ast::Kind;

/// The words that may stand in the attributes of one struct: the grammar's, and those of its `#[sid(..)]`.
pub(crate) struct Vocabulary(Vec<Symbol>);

/// A row of the grammar: this word, at this place, in this form.
struct Symbol {
    text: Cow<'static, str>,
    word: Word,
    place: Place,
    form: Form,
    written: Cow<'static, str>,
}

/// What a word means; it means the same wherever it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    /// An operation on the datum.
    Operation(Kind),
    Notify,
    Public,
    Name,
    Crate,
    Hooks,
    OwnThread,
    Actor,
    Fallback,
    Exclusive,
    Blocking,
    NoCancel,
    Timeout,
}

/// Where a word stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// In the `#[service(..)]` of the struct.
    Service,
    /// In a `#[did(ID, ..)]` of the struct.
    Struct,
    /// In a `#[did(.., ..)]` of the struct, behind the dots.
    Rest,
    /// In a `#[did(..)]` of a field.
    Field,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Nothing.
    Flag,
    /// `= some::path`
    Path,
    /// `= fn name(..) -> T`
    Signature,
    /// `= ".."`
    Text,
    /// `=` and any other literal; no word is written so.
    Literal,
}

/// Why a word cannot be taken, in a sentence that says what to write.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The word is wrong here.
    Word(String),
    /// The word is right, what follows it is not.
    Value(String),
}

const READ: Word = Word::Operation(Kind::Read);
const WRITE: Word = Word::Operation(Kind::Write);
const EXECUTE: Word = Word::Operation(Kind::Execute);

#[rustfmt::skip]
const SYMBOLS: &[Symbol] = &[
    row("name",       Word::Name,      Place::Service, Form::Text,      r#"name = "..""#),
    row("crate",      Word::Crate,     Place::Service, Form::Path,      "crate = path::to::socketproto"),
    row("hooks",      Word::Hooks,     Place::Service, Form::Flag,      "hooks"),
    row("own_thread", Word::OwnThread, Place::Service, Form::Flag,      "own_thread"),
    row("actor",      Word::Actor,     Place::Service, Form::Flag,      "actor"),
    row("read",       READ,            Place::Struct,  Form::Signature, "read = fn name() -> Value"),
    row("write",      WRITE,           Place::Struct,  Form::Signature, "write = fn name(value: Value)"),
    row("execute",    EXECUTE,         Place::Struct,  Form::Signature, "execute = fn name(args: Args) -> Reply"),
    row("notify",     Word::Notify,    Place::Struct,  Form::Flag,      "notify"),
    row("public",     Word::Public,    Place::Struct,  Form::Flag,      "public"),
    row("exclusive",  Word::Exclusive, Place::Struct,  Form::Flag,      "exclusive"),
    row("blocking",   Word::Blocking,  Place::Struct,  Form::Flag,      "blocking"),
    row("no_cancel",  Word::NoCancel,  Place::Struct,  Form::Flag,      "no_cancel"),
    row("timeout",    Word::Timeout,   Place::Struct,  Form::Text,      r#"timeout = "120s""#),
    row("name",       Word::Name,      Place::Struct,  Form::Text,      r#"name = "..""#),
    row("read",       READ,            Place::Rest,    Form::Flag,      "read"),
    row("write",      WRITE,           Place::Rest,    Form::Flag,      "write"),
    row("execute",    EXECUTE,         Place::Rest,    Form::Flag,      "execute"),
    row("fallback",   Word::Fallback,  Place::Rest,    Form::Path,      "fallback = method"),
    row("name",       Word::Name,      Place::Rest,    Form::Text,      r#"name = "..""#),
    row("read",       READ,            Place::Field,   Form::Flag,      "read"),
    row("write",      WRITE,           Place::Field,   Form::Flag,      "write"),
    row("write",      WRITE,           Place::Field,   Form::Path,      "write = method"),
    row("notify",     Word::Notify,    Place::Field,   Form::Flag,      "notify"),
    row("public",     Word::Public,    Place::Field,   Form::Flag,      "public"),
    row("name",       Word::Name,      Place::Field,   Form::Text,      r#"name = "..""#),
];

const fn row(text: &'static str, word: Word, place: Place, form: Form, written: &'static str) -> Symbol {
    Symbol { text: Cow::Borrowed(text), word, place, form, written: Cow::Borrowed(written) }
}

/// Whether the grammar knows this word, at whatever place.
pub(crate) fn is_built_in(text: &str) -> bool {
    SYMBOLS.iter().any(|symbol| symbol.text == text)
}

impl Vocabulary {
    /// The grammar's words and the names of these services, each of which is written as `execute` is.
    pub(crate) fn new(services: impl Iterator<Item = String>) -> Self {
        let mut symbols = grammar();
        for (position, name) in services.enumerate() {
            let word = Word::Operation(Kind::Own(position));
            let written = format!("{name} = fn {name}(args: Args) -> Reply");
            symbols.push(Symbol {
                text: name.clone().into(),
                word,
                place: Place::Struct,
                form: Form::Signature,
                written: written.into(),
            });
            let (text, written) = (name.clone().into(), name.into());
            symbols.push(Symbol { text, word, place: Place::Rest, form: Form::Flag, written });
        }
        Self(symbols)
    }

    /// Whether any attribute knows this word.
    pub(crate) fn is_word(&self, text: &str) -> bool {
        self.0.iter().any(|symbol| symbol.text == text)
    }

    /// Which word this is, if it may be written so at this place.
    pub(crate) fn resolve(&self, text: &str, place: Place, form: Form) -> Result<Word, Refusal> {
        let here: Vec<_> =
            self.0.iter().filter(|symbol| symbol.text == text && symbol.place == place).collect();
        match here.iter().find(|symbol| symbol.form == form) {
            Some(symbol) => Ok(symbol.word),
            None if here.is_empty() => Err(Refusal::Word(self.misplaced(text, place))),
            None => Err(Refusal::Value(misshapen(place, form, &here))),
        }
    }

    /// The word does not stand here at all.
    fn misplaced(&self, text: &str, place: Place) -> String {
        match self.0.iter().find(|symbol| symbol.text == text) {
            Some(symbol) if symbol.form == Form::Flag => {
                format!("`{text}` belongs {}", belongs(symbol.place, place))
            }
            Some(symbol) => {
                format!("`{text}` belongs {}: `{}`", belongs(symbol.place, place), symbol.written)
            }
            None => format!("unknown word `{text}`, expected one of: {}", self.words_of(place)),
        }
    }

    fn words_of(&self, place: Place) -> String {
        let mut words: Vec<_> =
            self.0.iter().filter(|symbol| symbol.place == place).map(|symbol| &*symbol.text).collect();
        words.dedup();
        format!("`{}`", words.join("`, `"))
    }
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::new(std::iter::empty())
    }
}

fn grammar() -> Vec<Symbol> {
    let copy = |row: &Symbol| Symbol { text: row.text.clone(), written: row.written.clone(), ..*row };
    SYMBOLS.iter().map(copy).collect()
}

fn belongs(home: Place, found: Place) -> &'static str {
    match (home, found) {
        (Place::Service, _) => "in `#[service(..)]`",
        (_, Place::Service) => "in `#[did(..)]`",
        (Place::Rest, _) => "beside `..`, on the struct",
        (_, Place::Rest) => "beside a data id, not beside `..`",
        (Place::Struct, _) => "on the struct",
        (Place::Field, _) => "on a field",
    }
}

/// The word stands here, but not in this form.
fn misshapen(place: Place, form: Form, here: &[&Symbol]) -> String {
    let text = &here[0].text;
    let forms: Vec<_> = here.iter().map(|symbol| format!("`{}`", symbol.written)).collect();
    let forms = forms.join(" or ");
    match (place, form, here[0].word) {
        (Place::Struct, _, Word::Operation(_)) => {
            format!("on the struct, `{text}` names the method that serves it: {forms}")
        }
        (Place::Rest, _, Word::Operation(_)) => {
            format!("beside `..`, `{text}` stands alone: `fallback` names the method")
        }
        (Place::Field, Form::Signature, Word::Operation(_)) => {
            format!("a signature belongs on the struct; on a field it is {forms}")
        }
        (Place::Field, _, READ) => "`read` takes no value: the field itself is read".to_owned(),
        _ if here.iter().all(|symbol| symbol.form == Form::Flag) => format!("`{text}` takes no value"),
        _ => format!("expected {forms}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, place: Place, form: Form, expected: &str) {
        let (Refusal::Word(message) | Refusal::Value(message)) =
            Vocabulary::default().resolve(text, place, form).unwrap_err();
        assert_eq!(message, expected);
    }

    #[test]
    fn a_word_means_the_same_wherever_it_stands() {
        for a in SYMBOLS {
            assert!(SYMBOLS.iter().all(|b| a.text != b.text || a.word == b.word), "{}", a.text);
            assert_eq!(Vocabulary::default().resolve(&a.text, a.place, a.form), Ok(a.word));
        }
    }

    #[test]
    fn a_row_is_written_with_its_word() {
        for symbol in SYMBOLS {
            assert!(symbol.written.starts_with(&*symbol.text), "{}", symbol.written);
            assert_eq!(symbol.written.contains('='), symbol.form != Form::Flag, "{}", symbol.written);
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_those_of_its_place() {
        check(
            "reed",
            Place::Field,
            Form::Flag,
            "unknown word `reed`, expected one of: `read`, `write`, `notify`, `public`, `name`",
        );
        check(
            "id",
            Place::Service,
            Form::Text,
            "unknown word `id`, expected one of: `name`, `crate`, `hooks`, `own_thread`, `actor`",
        );
    }

    #[test]
    fn a_word_at_the_wrong_place_is_told_where_it_belongs() {
        check(
            "execute",
            Place::Field,
            Form::Flag,
            "`execute` belongs on the struct: `execute = fn name(args: Args) -> Reply`",
        );
        check(
            "crate",
            Place::Struct,
            Form::Path,
            "`crate` belongs in `#[service(..)]`: `crate = path::to::socketproto`",
        );
        check("public", Place::Service, Form::Flag, "`public` belongs in `#[did(..)]`");
    }

    #[test]
    fn the_name_of_an_own_service_is_a_word_as_execute_is() {
        let words = Vocabulary::new(["history".to_owned()].into_iter());
        let history = Ok(Word::Operation(Kind::Own(0)));
        assert_eq!(words.resolve("history", Place::Struct, Form::Signature), history);
        assert_eq!(words.resolve("history", Place::Rest, Form::Flag), history);
        let written = "history = fn history(args: Args) -> Reply";
        let expected = Refusal::Word(format!("`history` belongs on the struct: `{written}`"));
        assert_eq!(words.resolve("history", Place::Field, Form::Flag), Err(expected));
        let Err(Refusal::Word(message)) = words.resolve("histroy", Place::Rest, Form::Flag) else { panic!() };
        assert!(message.ends_with("`execute`, `fallback`, `name`, `history`"), "{message}");
    }

    #[test]
    fn a_word_in_the_wrong_form_is_told_the_right_one() {
        check(
            "read",
            Place::Struct,
            Form::Flag,
            "on the struct, `read` names the method that serves it: `read = fn name() -> Value`",
        );
        check(
            "write",
            Place::Field,
            Form::Signature,
            "a signature belongs on the struct; on a field it is `write` or `write = method`",
        );
        check("read", Place::Field, Form::Path, "`read` takes no value: the field itself is read");
        check("public", Place::Field, Form::Text, "`public` takes no value");
        check("name", Place::Field, Form::Flag, r#"expected `name = ".."`"#);
    }
}
