// Calls of commands. A failed call throws a Fault with the code that says why.
export class Fault extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const IDLE_MS = 60000; // a person who did nothing for so long is taken to be away
let last_act = Date.now();
for (const event of ["pointerdown", "keydown", "wheel", "touchstart"]) {
  addEventListener(event, () => { last_act = Date.now(); }, { passive: true, capture: true });
}

// Numbers of values stay text: no double holds all digits of a counter. Inside a JSON string the
// quotation mark before the colon would carry a backslash, so this finds keys only.
function parse(body) {
  return JSON.parse(body.replace(/"value":(-?[0-9][0-9.]*)(?=[,}])/g, '"value":"$1"'));
}

export async function call(command, args = {}, limit_ms = 45000) {
  let answer;
  let body;
  try {
    answer = await fetch(`/api/${command}`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        // What the page asks by itself must not keep a session alive.
        "X-Metergate": Date.now() - last_act < IDLE_MS ? "page" : "background",
      },
      body: JSON.stringify(args),
      cache: "no-store",
      signal: AbortSignal.timeout(limit_ms),
    });
    body = parse(await answer.text());
  } catch {
    throw new Fault("lost", "");
  }
  if (!body.ok) throw new Fault(body.code ?? "failed", body.error ?? "");
  return body.result;
}
