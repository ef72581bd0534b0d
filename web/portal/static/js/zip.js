// A ZIP of files as they are (APPNOTE 6.3.10, method 0: stored). Photos do not get smaller anyway.

import { utf8 } from "./bytes.js";

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const VERSION = 20;
const UTF8_NAMES = 0x0800;
const LARGEST = 0xffffffff;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, start) => {
    let value = start;
    for (let bit = 0; bit < 8; bit += 1) {
        value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    }
    return value;
});

/**
 * @param {{name: string, bytes: Uint8Array}[]} files
 * @param {Date} madeAt
 * @returns {Blob}
 */
export function zip(files, madeAt) {
    const parts = [];
    const directory = [];
    let offset = 0;
    for (const { name, bytes } of files) {
        const entry = { name: utf8(name), size: bytes.length, crc: crc32(bytes), offset };
        const header = localHeader(entry, madeAt);
        parts.push(header, bytes);
        directory.push(centralHeader(entry, madeAt));
        offset += header.length + bytes.length;
        if (offset > LARGEST) {
            throw new RangeError("The archive is larger than 4 GiB.");
        }
    }
    const size = directory.reduce((sum, one) => sum + one.length, 0);
    parts.push(...directory, end(directory.length, size, offset));
    return new Blob(parts, { type: "application/zip" });
}

function crc32(bytes) {
    let crc = 0xffffffff;
    for (const byte of bytes) {
        crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
    }
    return (crc ^ 0xffffffff) >>> 0;
}

function localHeader({ name, size, crc }, madeAt) {
    return record(name, [
        [4, LOCAL],
        [2, VERSION],
        ...common({ name, size, crc }, madeAt),
    ]);
}

function centralHeader({ name, size, crc, offset }, madeAt) {
    return record(name, [
        [4, CENTRAL],
        [2, VERSION],
        [2, VERSION],
        ...common({ name, size, crc }, madeAt),
        [2, 0], // comment
        [2, 0], // disk
        [2, 0], // internal attributes
        [4, 0], // external attributes
        [4, offset],
    ]);
}

/** Flags, method, time, date, checksum, both sizes, lengths of name and extra field. */
function common({ name, size, crc }, madeAt) {
    const time =
        (madeAt.getHours() << 11) | (madeAt.getMinutes() << 5) | (madeAt.getSeconds() >> 1);
    const date =
        ((madeAt.getFullYear() - 1980) << 9) | ((madeAt.getMonth() + 1) << 5) | madeAt.getDate();
    return [
        [2, UTF8_NAMES],
        [2, 0],
        [2, time],
        [2, date],
        [4, crc],
        [4, size],
        [4, size],
        [2, name.length],
        [2, 0],
    ];
}

function end(count, size, offset) {
    return record(new Uint8Array(), [
        [4, END],
        [2, 0],
        [2, 0],
        [2, count],
        [2, count],
        [4, size],
        [4, offset],
        [2, 0],
    ]);
}

/** Little-endian numbers of 2 or 4 bytes, then the name. */
function record(name, numbers) {
    const fixed = numbers.reduce((sum, [width]) => sum + width, 0);
    const bytes = new Uint8Array(fixed + name.length);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const [width, value] of numbers) {
        if (width === 2) {
            view.setUint16(at, value, true);
        } else {
            view.setUint32(at, value, true);
        }
        at += width;
    }
    bytes.set(name, fixed);
    return bytes;
}
