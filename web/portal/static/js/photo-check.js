// A quick look at a photo in the browser, so that a blurred one is noticed while the camera is
// still at hand. It warns and never blocks; the analysis decides.

const LOOK_WIDTH = 512;
const GOOD_LONG_SIDE = 1600;
const BLUR_VARIANCE = 12;
const DARK = 30;
const BRIGHT = 245;
const MUCH = 0.4;

const WARNINGS = {
    unreadable: "This file cannot be shown as a photo. Please choose a JPEG or PNG photo.",
    small: "This photo is small. Use the camera's full size, or move closer.",
    blurred: "This photo looks blurred. Hold still, tap the spot to focus, and take it again.",
    dark: "This photo looks dark. Go to a window or put on a light, and take it again.",
    bright: "This photo looks too bright. Turn off the flash or step out of the sun, and take it again.",
};

/**
 * @param {Blob} file
 * @returns {Promise<{readable: boolean, warnings: {code: string, text: string}[]}>}
 */
export async function checkPhoto(file) {
    let bitmap;
    try {
        bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
        return { readable: false, warnings: [warning("unreadable")] };
    }
    const longSide = Math.max(bitmap.width, bitmap.height);
    const codes = longSide < GOOD_LONG_SIDE ? ["small"] : [];
    const { light, width, height } = luminance(bitmap);
    bitmap.close();
    codes.push(...judge(measure(light, width, height)));
    return { readable: true, warnings: codes.map(warning) };
}

/** Variance of the Laplacian, and the shares of nearly black and of washed-out pixels. */
export function measure(light, width, height) {
    let sum = 0;
    let squares = 0;
    for (let y = 1; y < height - 1; y += 1) {
        for (let x = 1; x < width - 1; x += 1) {
            const at = y * width + x;
            const edges = light[at - 1] + light[at + 1] + light[at - width] + light[at + width];
            const laplacian = edges - 4 * light[at];
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    const count = Math.max(1, (width - 2) * (height - 2));
    const share = (test) => light.reduce((n, value) => n + test(value), 0) / light.length;
    return {
        variance: squares / count - (sum / count) ** 2,
        dark: share((value) => value < DARK),
        bright: share((value) => value > BRIGHT),
    };
}

function judge({ variance, dark, bright }) {
    const codes = [];
    if (dark > MUCH) {
        codes.push("dark");
    } else if (bright > MUCH) {
        codes.push("bright");
    } else if (variance < BLUR_VARIANCE) {
        codes.push("blurred");
    }
    return codes;
}

function luminance(bitmap) {
    const width = Math.min(LOOK_WIDTH, bitmap.width);
    const height = Math.max(1, Math.round((bitmap.height * width) / bitmap.width));
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    const rgba = context.getImageData(0, 0, width, height).data;
    const light = new Float32Array(width * height);
    for (let i = 0; i < light.length; i += 1) {
        const at = 4 * i;
        light[i] = 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2];
    }
    return { light, width, height };
}

function warning(code) {
    return { code, text: WARNINGS[code] };
}
