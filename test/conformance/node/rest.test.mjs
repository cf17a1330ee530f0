// The REST API's description, as other people's tools take it: a validator of
// OpenAPI 3.1, and a generator of TypeScript clients whose program must
// type-check and then work against the real server.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { Validator } from '@seriousme/openapi-schema-validator';
import openapiTS, { astToString } from 'openapi-typescript';

const base = `http://${process.env.PORCHLIGHT_HTTP}`;
const key = 'porchlight development server key, known to everyone, loopback only';

async function description() {
  const response = await fetch(`${base}/openapi.json`);
  assert.equal(response.status, 200);
  return response.json();
}

test('the description is valid OpenAPI 3.1', async () => {
  const document = await description();
  const good = await new Validator().validate(document);
  assert.ok(good.valid, JSON.stringify(good.errors, null, 1));
  assert.equal(document.openapi, '3.1.0');
  // The validator must be able to say no.
  const { info, ...broken } = document;
  assert.ok(info && !(await new Validator().validate(broken)).valid);
});

test('a client generated from the description type-checks and works', async () => {
  const cache = join(import.meta.dirname, 'node_modules', '.cache'); // where packages are found
  await mkdir(cache, { recursive: true });
  const dir = await mkdtemp(join(cache, 'rest-'));
  try {
    await writeFile(join(dir, 'schema.d.ts'), astToString(await openapiTS(await description())));
    await copyFile(join(import.meta.dirname, 'rest.story.ts'), join(dir, 'story.ts'));
    await writeFile(join(dir, 'package.json'), '{"type": "module"}');
    const tsc = join(import.meta.dirname, 'node_modules', 'typescript', 'bin', 'tsc');
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify({
      compilerOptions: {
        strict: true, noUncheckedIndexedAccess: true, target: 'es2022', module: 'nodenext', skipLibCheck: true,
        types: ['node'], lib: ['es2022', 'dom', 'dom.iterable'],
      },
      files: ['story.ts'],
    }));
    await promisify(execFile)(process.execPath, [tsc, '-p', '.'], { cwd: dir }).catch((e) => assert.fail(e.stdout || e));
    const { story } = await import(pathToFileURL(join(dir, 'story.js')).href);
    await story(base, key);
  } finally {
    await rm(dir, { recursive: true });
  }
});
