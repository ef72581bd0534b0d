/**
 * Why sealing or opening was refused. `reason` is one of: malformed, wrong-context,
 * unknown-recipient, bad-key, cannot-unwrap, commitment-mismatch, broken-chunk,
 * bad-epoch-signature, outside-epoch, unsupported.
 */
export class SealError extends Error {
    constructor(reason, message) {
        super(message);
        this.name = "SealError";
        this.reason = reason;
    }
}
