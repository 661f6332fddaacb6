// Speaks HTTP/2 on one connection: http2_client.js URL CA. Prints what it has seen as one line of JSON.
const fs = require('fs');
const http2 = require('http2');

const [url, ca] = process.argv.slice(2);
const session = http2.connect(url, { ca: fs.readFileSync(ca) });
session.on('error', (error) => { throw error; });

const ask = (headers, body, then) => new Promise((resolve, reject) => {
  const stream = session.request(headers, { endStream: body === undefined });
  const pieces = [];
  stream.on('data', (piece) => { pieces.push(piece); if (then) then(stream); });
  stream.on('close', () => resolve(Buffer.concat(pieces)));
  stream.on('error', reject);
  if (body !== undefined) stream.end(body);
});
const all = (count, one) => Promise.all(Array.from({ length: count }, (_, number) => one(number)));
const count = (list, wanted) => list.filter(wanted).length;

session.on('connect', async () => {
  const seen = { alpn: session.alpnProtocol };
  const pings = await all(3, () => new Promise((resolve) => session.ping((error) => resolve(!error))));
  seen.pings = count(pings, (answered) => answered);
  const echoes = await all(200, async (number) => {
    const body = Buffer.alloc(number * 500, `${number} `);
    return (await ask({ ':path': '/echo', ':method': 'POST' }, body)).equals(body);
  });
  seen.echoed = count(echoes, (same) => same);
  // Cancelled when the first piece has come. The connection and its other streams go on.
  const [cancelled, answered] = await Promise.all([
    all(50, () => ask({ ':path': '/bytes/100000000' }, undefined, (stream) => stream.close(http2.constants.NGHTTP2_CANCEL))),
    all(200, () => ask({ ':path': '/' })),
  ]);
  seen.cancelled = count(cancelled, (body) => body.length < 100000000);
  seen.answered = count(answered, (body) => body.toString() === 'hello world\n');
  // Slow ones do not hold up each other.
  seen.slow = count(await all(20, () => ask({ ':path': '/delay/100' })), (body) => body.length > 0);
  session.close(() => console.log(JSON.stringify({ ...seen, closed: true })));
});
