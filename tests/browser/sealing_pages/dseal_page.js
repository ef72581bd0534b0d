// Lends the sealing module to the test, with bytes as base64 and refusals as their reason.

import { concat, fromBase64, toBase64 } from "/static/js/bytes.js";
import * as dseal from "/static/js/dseal.js";
import {
    Aes256Gcm,
    CipherSuite,
    DhkemX25519HkdfSha256,
    HkdfSha256,
} from "/static/vendor/hpke/hpke-core.js";

const hpke = new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes256Gcm(),
});

let viewer;

async function outcome(work) {
    try {
        return { value: await work() };
    } catch (error) {
        return { reason: error.reason ?? `unexpected: ${error}` };
    }
}

window.underTest = {
    seal: ({ plaintext, context, recipients }) =>
        outcome(async () => {
            const keys = recipients.map(({ kid, raw }) => ({ kid, raw: fromBase64(raw) }));
            const how = { context, recipients: keys };
            const { container } = await dseal.seal(fromBase64(plaintext), how);
            return toBase64(new Uint8Array(await container.arrayBuffer()));
        }),

    newViewer: () =>
        outcome(async () => {
            viewer = await dseal.generateViewerKey();
            return viewer.publicKey;
        }),

    exportViewer: () =>
        outcome(() => crypto.subtle.exportKey("pkcs8", viewer.keyPair.privateKey)),

    open: ({ headerText, body, kid, expected }) =>
        outcome(async () => {
            const { keyPair } = viewer;
            const what = { headerText, body: fromBase64(body), kid, keyPair, expected };
            return toBase64(await dseal.openSealed(what));
        }),

    // An entry as a stranger's program would make it: any file key, any info.
    wrap: ({ raw, info, fileKey }) =>
        outcome(async () => {
            const recipientPublicKey = await hpke.kem.deserializePublicKey(fromBase64(raw));
            const sender = { recipientPublicKey, info: fromBase64(info) };
            const { enc, ct } = await hpke.seal(sender, fromBase64(fileKey));
            return toBase64(concat(new Uint8Array(enc), new Uint8Array(ct)));
        }),

    // What is left in every array that held a key when the work is done.
    leftInMemory: (name, argument) =>
        outcome(async () => {
            const { importKey } = crypto.subtle;
            const seen = [];
            crypto.subtle.importKey = (format, data, ...rest) => {
                if (format === "raw" && data instanceof Uint8Array && data.length === 32) {
                    seen.push(data);
                }
                return importKey.call(crypto.subtle, format, data, ...rest);
            };
            try {
                await window.underTest[name](argument);
            } finally {
                crypto.subtle.importKey = importKey;
            }
            return seen.map(toBase64);
        }),

    parseHeader: (text) => outcome(() => dseal.parseHeader(text).context),

    verifyEpochKey: ({ signed, root, now }) =>
        outcome(async () => {
            const { kid, raw } = await dseal.verifyEpochKey(signed, fromBase64(root), now);
            return { kid, raw: toBase64(raw) };
        }),
};
