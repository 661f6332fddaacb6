// An https server that echoes bodies, one for each object of the JSON in its argument. Prints of each request: the port, the
// version, whether the session was resumed, and the application protocol.
const fs = require('fs');
const https = require('https');

const blocks = JSON.parse(process.argv[2]);
// The last one is waited for.
(async () => {
  for (const block of blocks) {
    const options = { cert: fs.readFileSync(block.cert), key: fs.readFileSync(block.key), minVersion: 'TLSv1.2' };
    if (block.ca) Object.assign(options, { ca: fs.readFileSync(block.ca), requestCert: true, rejectUnauthorized: true });
    if (block.groups) options.ecdhCurve = block.groups;
    const server = https.createServer(options, (request, response) => {
      const socket = request.socket;
      const kind = socket.isSessionReused() ? 'resumed' : 'full';
      console.error(`${block.port} ${socket.getProtocol()} ${kind} ${socket.alpnProtocol || '-'}`);
      const length = request.headers['content-length'];
      const fields = { 'Content-Type': 'application/octet-stream' };
      if (request.method === 'GET') return response.end('hello world\n');
      if (length !== undefined) fields['Content-Length'] = length;
      response.writeHead(200, fields);
      request.pipe(response);
    });
    await new Promise((resolve) => server.listen(block.port, '127.0.0.1', 1024, resolve));
  }
})();
