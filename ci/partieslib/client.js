// Requests `/` four times, each on a new connection: client.js PORT CA VERSION [CERTIFICATE KEY]. Prints a line of JSON for each.
const fs = require('fs');
const tls = require('tls');

const [port, ca, version, cert, key] = process.argv.slice(2);
const options = {
  host: '127.0.0.1', port, servername: 'localhost', ca: fs.readFileSync(ca), minVersion: version, maxVersion: version,
  ALPNProtocols: ['http/1.1'],
};
if (cert) Object.assign(options, { cert: fs.readFileSync(cert), key: fs.readFileSync(key) });

const ask = (session) => new Promise((resolve, reject) => {
  let next = session;
  let text = '';
  const socket = tls.connect({ ...options, session }, () => {
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  });
  const facts = () => ({ protocol: socket.getProtocol(), alpn: socket.alpnProtocol, resumed: socket.isSessionReused() });
  let known;
  socket.on('secureConnect', () => { known = facts(); });
  socket.on('session', (given) => { next = given; });
  socket.on('data', (bytes) => { text += bytes; });
  socket.on('error', reject);
  socket.on('end', () => {
    const [head, body] = text.split('\r\n\r\n');
    console.log(JSON.stringify({ ...known, status: Number(head.split(' ')[1]), body }));
    resolve(next);
  });
});

(async () => {
  let session;
  for (let count = 0; count < 4; count++) session = await ask(session);
})();
