// The clinic's public key for this period. It counts only with the offline root's signature, so
// that a web server that hands out a key of its own is noticed. Twin of clinic/epoch_key.py.

import { fromBase64, toBase64, utf8 } from "./bytes.js";
import { SealError } from "./seal-error.js";

const DOMAIN = "dermqueue epoch key 1";
const FIELDS = ["kid", "not_after", "not_before", "public_key", "signature"];
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/**
 * @param {string} signedEpoch the JSON text that the form carries
 * @param {Uint8Array} rootPublicKey raw Ed25519 key, 32 bytes
 * @returns {Promise<{kid: string, raw: Uint8Array}>} a recipient for `seal`
 */
export async function verifyEpochKey(signedEpoch, rootPublicKey, now = Date.now()) {
    const epoch = parseSignedEpoch(signedEpoch);
    const root = await importRoot(rootPublicKey);
    const text = [DOMAIN, epoch.kid, toBase64(epoch.raw), epoch.notBefore, epoch.notAfter, ""];
    const message = utf8(text.join("\n"));
    if (!(await crypto.subtle.verify("Ed25519", root, epoch.signature, message))) {
        throw new SealError("bad-epoch-signature", "the key is not signed by the pinned root");
    }
    if (now < epoch.notBefore * 1000 || now >= epoch.notAfter * 1000) {
        throw new SealError("outside-epoch", "the key is not valid at this time");
    }
    return { kid: epoch.kid, raw: epoch.raw };
}

function parseSignedEpoch(text) {
    let fields;
    try {
        fields = JSON.parse(text);
    } catch {
        throw malformed();
    }
    const keys = fields && typeof fields === "object" ? Object.keys(fields).sort() : [];
    const raw = fromBase64(fields?.public_key);
    const signature = fromBase64(fields?.signature);
    const good =
        keys.join() === FIELDS.join() &&
        typeof fields.kid === "string" &&
        NAME.test(fields.kid) &&
        raw?.length === 32 &&
        signature?.length === 64 &&
        isTime(fields.not_before) &&
        isTime(fields.not_after);
    if (!good) {
        throw malformed();
    }
    const { kid, not_before: notBefore, not_after: notAfter } = fields;
    return { kid, raw, signature, notBefore, notAfter };
}

async function importRoot(raw) {
    try {
        return await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
    } catch (error) {
        if (error.name === "NotSupportedError") {
            throw new SealError("unsupported", "this browser cannot check Ed25519 signatures");
        }
        throw new SealError("bad-epoch-signature", "the root key is not usable");
    }
}

function isTime(value) {
    return Number.isSafeInteger(value) && value >= 0;
}

function malformed() {
    return new SealError("malformed", "the clinic's key is not in its grammar");
}
