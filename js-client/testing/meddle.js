// What other processes may do to a socket file while a client connects.
import net from 'node:net';

/**
 * Lets `meddle` do what another process may do before the system call or after it, at the first connect.
 *
 * @param {import('node:test').TestContext} t
 * @param {(connectNow: () => void) => void} meddle
 */
export function meddleOnce(t, meddle) {
  const original = net.Socket.prototype.connect;
  const mock = t.mock.method(
    net.Socket.prototype,
    'connect',
    /** @this {net.Socket} @param {any[]} values */
    function (...values) {
      mock.mock.restore();
      meddle(() => Reflect.apply(original, this, values));
      return this;
    },
  );
}
