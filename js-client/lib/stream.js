/**
 * What a session needs of a transport. This file holds types only.
 *
 * @typedef {object} Handler
 * @property {(chunk: Buffer) => boolean} onBytes takes bytes that are valid during the call only;
 *   false stops reading until `resume`
 * @property {() => void} onEnd the peer will send nothing more
 * @property {(error: Error) => void} onError reading failed
 *
 * @typedef {object} Stream
 * @property {(handler: Handler) => void} start begins to read
 * @property {() => void} resume
 * @property {(bytes: Buffer, done: (error: Error | null) => void) => void} write one at a time;
 *   calls back once the kernel has the bytes
 * @property {number} unsent bytes of the output that the kernel has not taken
 * @property {() => Promise<boolean>} isAcknowledged whether the peer's kernel certainly has all output
 * @property {() => void} shutdown ends our direction, as far as the transport can
 * @property {() => void} abortWrite ends our direction inside a frame
 * @property {(wanted: boolean) => void} setReferenced whether it keeps the process alive
 * @property {() => Promise<void>} destroy resolves when the descriptors are closed
 */

export {};
