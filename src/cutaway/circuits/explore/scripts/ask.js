/* Questions to the server. A newer question of a kind ends the one before it; so does the server. */

const token = new URLSearchParams(location.search).get("token");
const session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
let running = null;

/* What the server says; null if the question was given up. `{error}` where it cannot be answered. */
export async function ask(path, body) {
  running?.abort();
  const own = (running = new AbortController());
  try {
    const answer = await send(path, body, own.signal);
    const said = await answer.json();
    return answer.ok || said.error ? said : { error: `the server answered ${answer.status}` };
  } catch (error) {
    return own.signal.aborted ? null : { error: "the server does not answer: is it still running?" };
  } finally {
    if (running === own) running = null;
  }
}

export function cancel() {
  running?.abort();
  return send("cancel", {}).catch(() => null);
}

function send(path, body, signal) {
  const headers = { "content-type": "application/json", ...(token ? { "x-cutaway-token": token } : {}) };
  return fetch(path, { method: "POST", headers, body: JSON.stringify({ session, ...body }), signal });
}
