// Node's http server: writes down each request that it has read whole. Usage: node echo.js FD LOG
'use strict';
const fs = require('fs');
const http = require('http');

const [fd, path] = process.argv.slice(2);
const log = fs.openSync(path, 'a');

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const read = {
      case: request.headers['x-case'] || null,
      method: request.method,
      target: request.url,
      host: request.headers.host || null,
      body: Buffer.concat(pieces).toString('latin1'),
    };
    fs.writeSync(log, JSON.stringify(read) + '\n');
    response.end('ok\n');
  });
});
// The listening socket comes from whoever started this.
server.listen({ fd: Number(fd) });
