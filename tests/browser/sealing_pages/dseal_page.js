// Lends the sealing module to the test, with bytes as base64 and refusals as their reason.

import { fromBase64, toBase64 } from "/static/js/bytes.js";
import * as dseal from "/static/js/dseal.js";

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

    parseHeader: (text) => outcome(() => dseal.parseHeader(text).context),

    verifyEpochKey: ({ signed, root, now }) =>
        outcome(async () => {
            const { kid, raw } = await dseal.verifyEpochKey(signed, fromBase64(root), now);
            return { kid, raw: toBase64(raw) };
        }),
};
