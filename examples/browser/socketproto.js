// A peer of socketproto for browsers: JSON frames over a WebSocket, calls as promises. No build, no dependencies.
//
//     const peer = await SocketProto.connect("ws://127.0.0.1:9001");
//     console.log(await peer.read(1));
//     await peer.write(2, 22.5);

"use strict";

class Fault extends Error {
  static NAMES = ["okay", "not handled", "callback error", "authentication required", "unknown", "checksum error",
    "not permitted"];

  constructor(status, data) {
    const name = Fault.NAMES[status] ?? "error of the application";
    super(`${name} (${status})${data?.error ? `: ${data.error}` : ""}`);
    this.status = status;
  }
}

class SocketProto {
  static READ = 10;
  static WRITE = 20;
  static EXECUTE = 30;
  static REQUESTS = [SocketProto.READ, SocketProto.WRITE, SocketProto.EXECUTE];
  static HELLO = 0xffff0000;

  // Connects, and says HELLO: both sides then number their calls.
  static async connect(url) {
    const peer = new SocketProto(url);
    await peer.opened;
    const session = crypto.getRandomValues(new Uint32Array(2));
    peer.serverHello = await peer.call(SocketProto.HELLO, 0, {
      session: Array.from(session, (word) => word.toString(16).padStart(8, "0")).join(""),
      features: ["message_id"],
      max_frame: 8 * 1024 * 1024,
      max_in_flight: 256,
    });
    return peer;
  }

  constructor(url) {
    this.calls = new Map();
    this.handlers = new Map();
    this.lastId = 0;
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (event) => this.#receive(new Uint8Array(event.data));
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      // Browsers tell no page why: the console may, and the server's log does.
      this.socket.addEventListener("error", () => reject(new Error(`no connection to ${url}`)));
    });
    this.closed = new Promise((resolve) => {
      this.socket.onclose = ({ code, reason }) => {
        const text = `connection lost, outcome unknown: ${code} ${reason}`.trimEnd();
        for (const { reject } of this.calls.values()) reject(new Error(text));
        this.calls.clear();
        resolve({ code, reason });
      };
    });
  }

  read(id) { return this.call(SocketProto.READ, id); }
  write(id, value) { return this.call(SocketProto.WRITE, id, value); }
  execute(id, value) { return this.call(SocketProto.EXECUTE, id, value); }
  close() { this.socket.close(1000); }

  // Calls the other side; rejects with a Fault where that refuses, and after `timeout` milliseconds.
  call(service, id, value = null, timeout = 10_000) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(new Error("not connected"));
      const message_id = ++this.lastId;
      const ending = (then) => (result) => {
        clearTimeout(timer);
        this.calls.delete(message_id);
        then(result);
      };
      const call = { response: service + 1, resolve: ending(resolve), reject: ending(reject) };
      const timer = setTimeout(() => call.reject(new Error(`no answer within ${timeout} ms, outcome unknown`)), timeout);
      this.calls.set(message_id, call);
      this.#send({ status: 0, service_id: service, data_id: id, data: value, message_id });
    });
  }

  // Answers calls of the other side with what the function gives.
  serve(service, id, handler) { this.handlers.set(`${service}/${id}`, handler); }

  #send(message) {
    const text = new TextEncoder().encode(JSON.stringify(message));
    const frame = new Uint8Array(text.length + 4);
    frame.set(text);
    new DataView(frame.buffer).setUint32(text.length, crc32(text));
    this.socket.send(frame);
  }

  async #receive(frame) {
    const text = frame.subarray(0, frame.length - 4);
    const sum = new DataView(frame.buffer, frame.byteOffset).getUint32(text.length);
    if (crc32(text) !== sum) return console.warn("a damaged frame was dropped");
    const { service_id, data_id, status = 0, data = null, message_id } = JSON.parse(new TextDecoder().decode(text));
    const call = this.calls.get(message_id);
    if (call?.response === service_id) return status === 0 ? call.resolve(data) : call.reject(new Fault(status, data));
    if (!SocketProto.REQUESTS.includes(service_id)) return; // an answer nobody waits for any more
    const answer = { service_id: service_id + 1, data_id, message_id };
    const handler = this.handlers.get(`${service_id}/${data_id}`);
    if (!handler) return this.#send({ ...answer, status: 4, data: null });
    try {
      this.#send({ ...answer, status: 0, data: (await handler(data)) ?? null });
    } catch (error) {
      this.#send({ ...answer, status: 2, data: { error: String(error) } });
    }
  }
}

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

// CRC-32 as in IEEE 802.3.
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}
