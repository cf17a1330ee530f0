// A node of its own, which a test may end and start again.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

/** `porchlight dev` of its own; stop ends it, and start starts it again at the same address. */
export class Node {
  http = '127.0.0.1:0';
  log = '';

  constructor(program, data) {
    this.program = program;
    this.data = data;
  }

  async start() {
    const child = spawn(this.program, ['dev', '--http', this.http, '--grpc', '127.0.0.1:0', '--data', this.data], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    child.stderr.on('data', (b) => (this.log += b));
    let ready = false;
    for await (const line of readline.createInterface(child.stdout)) {
      const [what, address] = line.split(/\s+/);
      if (what === 'http') this.http = address;
      ready ||= line.startsWith('Ctrl-C');
      if (ready) break;
    }
    if (!ready) throw new Error(`the node did not start:\n${this.log}`);
    child.stdout.resume();
    return this;
  }

  stop(signal = 'SIGTERM') {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return undefined;
    return new Promise((resolve) => {
      child.once('exit', resolve);
      child.kill(signal);
    });
  }

  get page() {
    return `http://${this.http}/demo/`;
  }
}

/** A directory that goes with the process's work. */
export function home() {
  const dir = mkdtempSync(path.join(tmpdir(), 'porchlight-demo-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }) };
}
