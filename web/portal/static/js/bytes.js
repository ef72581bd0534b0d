// Bytes, text and base64, in the one spelling that every reader of a container accepts.

export function toBase64(bytes) {
    let binary = "";
    for (let start = 0; start < bytes.length; start += 0x8000) {
        binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
    }
    return btoa(binary);
}

/** The bytes, or null when the text is not base64 in its one spelling. */
export function fromBase64(text) {
    if (typeof text !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
        return null;
    }
    try {
        const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        return toBase64(bytes) === text ? bytes : null;
    } catch {
        return null;
    }
}

export function concat(...parts) {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}

export function utf8(text) {
    return new TextEncoder().encode(text);
}

export function isAscii(text) {
    return typeof text === "string" && /^[\x00-\x7f]*$/.test(text);
}

/** Takes the same time wherever the first difference is. */
export function equalBytes(left, right) {
    if (left.length !== right.length) {
        return false;
    }
    let difference = 0;
    for (let i = 0; i < left.length; i += 1) {
        difference |= left[i] ^ right[i];
    }
    return difference === 0;
}
