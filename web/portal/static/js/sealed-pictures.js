// A case's sealed pictures, asked for once and opened one by one.

import { generateViewerKey } from "./dseal.js";
import { askForObjects, openObject, Refusal } from "./grant.js";

const GONE = "This photo was replaced. Load the page again.";

/**
 * @returns {Promise<(id: string) => Promise<ImageBitmap>>} opens one of the case's objects; the page's
 *     key lives as long as this function
 */
export async function sealedPictures({ grantUrl, csrf, submission }) {
    const { keyPair, publicKey } = await generateViewerKey();
    const objects = await askForObjects({ grantUrl, csrf, publicKey });
    const found = new Map(objects.map((object) => [object.id, object]));
    return async (id) => {
        if (!found.has(id)) {
            throw new Refusal(GONE);
        }
        const bytes = await openObject(found.get(id), { submission, keyPair });
        try {
            return await createImageBitmap(new Blob([bytes]));
        } finally {
            bytes.fill(0);
        }
    };
}
