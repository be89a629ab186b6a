// Verifies a request as receivers in JavaScript do, with nothing but Node's own crypto.
//
// stdin: {"headers": {...lower case...}, "body": "...", "secret": "whsec_...", "publicKey": "whpk_..." or null, "now": milliseconds}
// stdout: {"metronome": bool, "v1": bool, "v1a": bool or null}
//
// Metronome's scheme as the official Node client does it: the secret as text, the date header, a line feed and the raw body; hex;
// compared in constant time; five minutes in both directions. Standard Webhooks as its specification has it.
import crypto from "node:crypto";

const FIVE_MINUTES = 300_000;
const given = JSON.parse(await new Promise((resolve) => {
  let text = "";
  process.stdin.on("data", (part) => (text += part)).on("end", () => resolve(text));
}));
const { headers, secret, publicKey, now } = given;
const body = Buffer.from(given.body, "utf8");

function same(left, right) {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && crypto.timingSafeEqual(a, b);
}

function metronome() {
  const date = headers["x-metronome-date"];
  if (!(Math.abs(Date.parse(date) - now) <= FIVE_MINUTES)) return false;
  const signature = crypto.createHmac("sha256", secret).update(date + "\n").update(body).digest("hex");
  return same(headers["metronome-webhook-signature"], signature);
}

function standardText() {
  const timestamp = headers["webhook-timestamp"];
  if (!(Math.abs(Number(timestamp) * 1000 - now) <= FIVE_MINUTES)) return null;
  return Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${timestamp}.`), body]);
}

function entries(version) {
  return headers["webhook-signature"].split(" ").filter((each) => each.startsWith(`${version},`)).map((each) => each.slice(version.length + 1));
}

function v1() {
  const text = standardText();
  if (text === null) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = crypto.createHmac("sha256", key).update(text).digest("base64");
  return entries("v1").some((each) => same(each, expected));
}

function v1a() {
  if (publicKey === null) return null;
  const text = standardText();
  const x = Buffer.from(publicKey.replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = crypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return text !== null && entries("v1a").some((each) => crypto.verify(null, text, key, Buffer.from(each, "base64")));
}

process.stdout.write(JSON.stringify({ metronome: metronome(), v1: v1(), v1a: v1a() }));
