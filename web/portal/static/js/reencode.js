// Draws a photo to a canvas and takes it off again as a JPEG: place, time and camera data in the
// file stay behind, and the size is limited. The worker strips everything once more.

const MAX_SIDE = 4096;
const QUALITY = 0.95;

/** @returns {Promise<Uint8Array>} */
export async function reencode(file) {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const blob = await new Promise((resolve) => {
        canvas.toBlob(resolve, "image/jpeg", QUALITY);
    });
    canvas.width = 0;
    if (!blob) {
        throw new Error("the browser could not write the photo");
    }
    return new Uint8Array(await blob.arrayBuffer());
}
