// An HTTP/2 server that echoes bodies, plain and with TLS. Prints the version and status of each request.
const fs = require('fs');
const http2 = require('http2');

const { plain, tls, cert, key } = JSON.parse(process.argv[2]);
const serve = (stream, headers) => {
  console.error('HTTP/2.0 200');
  const path = headers[':path'];
  stream.on('error', () => {});
  stream.respond({ ':status': 200, 'content-type': 'application/octet-stream' });
  if (headers[':method'] === 'POST') return stream.pipe(stream);
  stream.end(path.startsWith('/bytes/') ? Buffer.alloc(Number(path.slice(7)), 'x') : 'hello world\n');
};
// The last one is waited for.
http2.createServer().on('stream', serve).listen(plain, '127.0.0.1', () => {
  http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }).on('stream', serve).listen(tls, '127.0.0.1');
});
