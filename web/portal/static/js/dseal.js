// The sealed container DSEAL/1 in the browser; twin of clinic/envelope.py and clinic/container.py.
// Keys live in memory only: nothing here writes to any storage of the browser.

import {
    Aes256Gcm,
    CipherSuite,
    DhkemX25519HkdfSha256,
    HkdfSha256,
} from "../vendor/hpke/hpke-core.js";
import { concat, equalBytes, fromBase64, isAscii, toBase64, utf8 } from "./bytes.js";
import { SealError } from "./seal-error.js";

export { verifyEpochKey } from "./epoch-key.js";
export { SealError };

const VERSION = "dseal/1";
const KEM_X25519 = 0x0020;
const KDF_HKDF_SHA256 = 0x0001;
const AEAD_AES_256_GCM = 0x0002;
const ALG_PATIENT = "A256GCM";
const CHUNK_SIZE = 1048576;
const TAG_SIZE = 16;
const ENC_SIZE = 32;
const MAX_HEADER_SIZE = 65536;
const MAX_SLOT = 999;
const WRAPPED_SIZE = { [KEM_X25519]: 80, [ALG_PATIENT]: 60 };
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const TYPES = [
    "photo",
    "rendition",
    "heatmap",
    "history",
    "identity",
    "finding",
    "letter",
    "retake",
    "draft",
    "gp_letter",
    "attachment",
    "pathology",
    "question",
    "note",
    "message",
];

const hpke = new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes256Gcm(),
});

/**
 * @param {Uint8Array} bytes
 * @param {{context: {submission: string, slot: number, type: string},
 *          recipients: {kid: string, raw: Uint8Array}[]}} how
 * @returns {Promise<{headerText: string, body: Blob, container: Blob}>}
 */
export async function seal(bytes, { context, recipients }) {
    const core = formatCore(context);
    const salt = await saltOf(core);
    const fileKey = crypto.getRandomValues(new Uint8Array(32));
    try {
        const commit = await derive(fileKey, salt, "commit");
        const entries = [];
        for (const recipient of recipients) {
            entries.push(await wrap(fileKey, salt, recipient));
        }
        const header = { core, commit: toBase64(commit), recipients: entries };
        const headerText = JSON.stringify(header);
        parseHeader(headerText);
        const body = new Blob(await sealChunks(bytes, await payloadKey(fileKey, salt)));
        const length = new Uint8Array(4);
        new DataView(length.buffer).setUint32(0, headerText.length);
        return { headerText, body, container: new Blob([length, headerText, body]) };
    } finally {
        fileKey.fill(0);
    }
}

/**
 * Opens in the reader's order: grammar, context, key, commitment, chunks. Nothing is handed out
 * before the last chunk was found good.
 *
 * @param {{headerText: string, body: Uint8Array, kid: string, keyPair: CryptoKeyPair,
 *          expected: {submission: string, slot: number, type: string}}} what
 * @returns {Promise<Uint8Array>}
 */
export async function openSealed({ headerText, body, kid, keyPair, expected }) {
    const header = parseHeader(headerText);
    checkContext(header.context, expected);
    checkBodySize(body.length);
    const salt = await saltOf(header.core);
    const fileKey = await unwrap(header, salt, kid, keyPair);
    try {
        if (!equalBytes(await derive(fileKey, salt, "commit"), header.commit)) {
            throw new SealError("commitment-mismatch", "the file key is not the committed one");
        }
        return await openChunks(body, await payloadKey(fileKey, salt));
    } finally {
        fileKey.fill(0);
    }
}

/**
 * A key pair that dies with the page. The HPKE library's own generator makes extractable keys, so
 * the pair comes from the browser itself.
 */
export async function generateViewerKey() {
    let keyPair;
    try {
        keyPair = await crypto.subtle.generateKey({ name: "X25519" }, false, ["deriveBits"]);
    } catch {
        throw new SealError("unsupported", "this browser cannot make X25519 keys");
    }
    const raw = new Uint8Array(await crypto.subtle.exportKey("raw", keyPair.publicKey));
    return { keyPair, publicKey: toBase64(raw) };
}

export function parseHeader(text) {
    if (!isAscii(text) || text.length > MAX_HEADER_SIZE) {
        throw malformed("header is too long or not plain ASCII");
    }
    const fields = withKeys(parseJson(text), ["core", "commit", "recipients"]);
    const commit = fromBase64(fields.commit);
    if (!isAscii(fields.core) || commit?.length !== 32 || !Array.isArray(fields.recipients)) {
        throw malformed("header has a field of the wrong type or length");
    }
    const recipients = fields.recipients.map(parseRecipient);
    if (!recipients.length || new Set(recipients.map((r) => r.kid)).size !== recipients.length) {
        throw malformed("no recipient, or the same one twice");
    }
    return { core: fields.core, commit, recipients, context: parseCore(fields.core) };
}

function parseRecipient(entry) {
    const how = entry && typeof entry === "object" && "kem" in entry ? "kem" : "alg";
    const { kid, sealed, ...rest } = withKeys(entry, ["kid", how, "sealed"]);
    checkName(kid);
    const wrapped = fromBase64(sealed);
    const known = how === "kem" ? rest.kem === KEM_X25519 : rest.alg === ALG_PATIENT;
    if (!known || wrapped?.length !== WRAPPED_SIZE[rest[how]]) {
        throw malformed("unknown wrapping, or one of the wrong length");
    }
    return { kid, ...rest, sealed: wrapped };
}

function parseCore(core) {
    const fields = withKeys(parseJson(core), ["v", "kdf", "aead", "chunk", "ctx"]);
    const known =
        fields.v === VERSION &&
        fields.kdf === KDF_HKDF_SHA256 &&
        fields.aead === AEAD_AES_256_GCM &&
        fields.chunk === CHUNK_SIZE;
    if (!known) {
        throw malformed("unknown version or algorithm");
    }
    return checkedContext(withKeys(fields.ctx, ["submission", "slot", "type"]));
}

function formatCore(context) {
    const { submission, slot, type } = checkedContext(context);
    return JSON.stringify({
        v: VERSION,
        kdf: KDF_HKDF_SHA256,
        aead: AEAD_AES_256_GCM,
        chunk: CHUNK_SIZE,
        ctx: { submission, slot, type },
    });
}

function checkedContext(context) {
    const { submission, slot, type } = context;
    checkName(submission);
    if (!Number.isInteger(slot) || slot < 0 || slot > MAX_SLOT || !TYPES.includes(type)) {
        throw malformed("unknown slot or type");
    }
    return { submission, slot, type };
}

function checkContext(found, expected) {
    if (["submission", "slot", "type"].some((key) => found[key] !== expected[key])) {
        throw new SealError("wrong-context", "the container was sealed as another object");
    }
}

function checkBodySize(size) {
    const rest = size % (CHUNK_SIZE + TAG_SIZE);
    const emptyTail = rest === TAG_SIZE && size !== TAG_SIZE;
    if (size < TAG_SIZE || (rest > 0 && rest < TAG_SIZE) || emptyTail) {
        throw malformed("the chunks do not add up to the body's length");
    }
}

async function wrap(fileKey, salt, { kid, raw }) {
    try {
        const recipientPublicKey = await hpke.kem.deserializePublicKey(raw);
        const sender = { recipientPublicKey, info: hpkeInfo(salt) };
        const { enc, ct } = await hpke.seal(sender, fileKey);
        const sealed = concat(new Uint8Array(enc), new Uint8Array(ct));
        return { kid, kem: KEM_X25519, sealed: toBase64(sealed) };
    } catch {
        throw new SealError("bad-key", "the recipient's public key is not usable");
    }
}

async function unwrap(header, salt, kid, keyPair) {
    const entry = header.recipients.find((recipient) => recipient.kid === kid);
    if (!entry) {
        throw new SealError("unknown-recipient", "no entry for this key id");
    }
    if (entry.kem !== KEM_X25519) {
        throw new SealError("cannot-unwrap", "this entry is not wrapped by HPKE");
    }
    const enc = entry.sealed.slice(0, ENC_SIZE);
    const wrapped = entry.sealed.slice(ENC_SIZE);
    try {
        // The pair and not the private key alone: the library would try to export a lone one.
        const reader = { recipientKey: keyPair, enc, info: hpkeInfo(salt) };
        return new Uint8Array(await hpke.open(reader, wrapped));
    } catch {
        throw new SealError("cannot-unwrap", "the entry does not open under this key");
    }
}

async function sealChunks(bytes, key) {
    const chunks = [];
    for (const { iv, chunk } of numbered(bytes, CHUNK_SIZE)) {
        chunks.push(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, chunk));
    }
    return chunks;
}

async function openChunks(body, key) {
    const chunks = [];
    try {
        for (const { iv, chunk } of numbered(body, CHUNK_SIZE + TAG_SIZE)) {
            const opened = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, chunk);
            chunks.push(new Uint8Array(opened));
        }
    } catch {
        throw new SealError("broken-chunk", "a chunk was changed, moved, cut or left out");
    }
    return concat(...chunks);
}

/** Chunks with their nonces: an 11-byte big-endian counter, then 1 on the last chunk alone. */
function* numbered(bytes, size) {
    const last = Math.floor(Math.max(0, bytes.length - 1) / size);
    for (let index = 0; index <= last; index += 1) {
        const iv = new Uint8Array(12);
        new DataView(iv.buffer).setUint32(7, index);
        iv[11] = index === last ? 1 : 0;
        yield { iv, chunk: bytes.subarray(index * size, (index + 1) * size) };
    }
}

async function payloadKey(fileKey, salt) {
    const raw = await derive(fileKey, salt, "payload");
    try {
        const usages = ["encrypt", "decrypt"];
        return await crypto.subtle.importKey("raw", raw, "AES-GCM", false, usages);
    } finally {
        raw.fill(0);
    }
}

async function derive(fileKey, salt, purpose) {
    const key = await crypto.subtle.importKey("raw", fileKey, "HKDF", false, ["deriveBits"]);
    const info = utf8(`${VERSION} ${purpose}`);
    const how = { name: "HKDF", hash: "SHA-256", salt, info };
    return new Uint8Array(await crypto.subtle.deriveBits(how, key, 256));
}

async function saltOf(core) {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(core)));
}

function hpkeInfo(salt) {
    return concat(utf8(`${VERSION} file-key\0`), salt);
}

function parseJson(text) {
    try {
        return JSON.parse(text);
    } catch {
        throw malformed("not the JSON of a container");
    }
}

function withKeys(value, keys) {
    const found = value && typeof value === "object" ? Object.keys(value) : [];
    if (found.length !== keys.length || keys.some((key) => !found.includes(key))) {
        throw malformed("fields are missing or unknown");
    }
    return value;
}

function checkName(value) {
    if (typeof value !== "string" || !NAME.test(value)) {
        throw malformed("not a plain identifier");
    }
}

function malformed(message) {
    return new SealError("malformed", message);
}
