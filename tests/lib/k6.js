#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// k6: a stand-in for k6 (which no package registry here has): it runs the script itself, with k6's modules replaced
// by as much of them as our scripts use, sends real requests (one after another, by curl), and writes the summary
// and the exit status that k6 would. K6_LIES=N says N requests more than it sent.
'use strict';
const fs = require('fs');
const { spawnSync } = require('child_process');

const args = process.argv.slice(2);
if (args[0] === 'version') {
  console.log('k6 v0.0.0 (a stand-in of the tests)');
  process.exit(0);
}
const script = args.find((a) => a.endsWith('.js'));
const summary = args.find((a) => a.startsWith('--summary-export=')).split('=')[1];
const __ENV = Object.fromEntries(args.filter((a, i) => args[i - 1] === '-e').map((a) => [a.split('=')[0], a.slice(a.indexOf('=') + 1)]));

let sent = 0, good = 0, iteration = 0;
const times = [];
const http = {
  expectedStatuses: () => 0,
  request: (method, url, body, params) => {
    const fields = Object.entries(params.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
    const began = process.hrtime.bigint();
    const done = spawnSync('curl', ['-s', '-m', '10', '-o', '-', '-w', '\n%{http_code} %{content_type}', '-X', method,
      ...fields, ...(body === null ? [] : ['--data-binary', '@-']), url], { input: body === null ? '' : body, encoding: 'utf8' });
    times.push(Number(process.hrtime.bigint() - began) / 1e6);
    sent++;
    const end = done.stdout.lastIndexOf('\n');
    const [status, type] = done.stdout.slice(end + 1).split(' ');
    return { status: Number(status), headers: { 'Content-Type': type }, json: () => JSON.parse(done.stdout.slice(0, end)) };
  },
};
const check = (answer, checks) => {
  for (const is of Object.values(checks)) good += is(answer) ? 1 : 0;
};
const exec = { scenario: { get iterationInTest() { return iteration++; } } };

const text = fs.readFileSync(script, 'utf8').replace(/^import .*$/gm, '')
  .replace('export default function ()', 'function iterate()').replace(/export const/g, 'const') + '\nreturn { iterate, options };';
const { iterate, options } = new Function('http', 'check', 'exec', '__ENV', text)(http, check, exec, __ENV);
const load = options.scenarios.traffic;
if (load.executor !== 'constant-arrival-rate' || load.timeUnit !== '1s' || !load.duration.endsWith('ms')) {
  console.error(`the stand-in knows one kind of load, not ${JSON.stringify(load)}`);
  process.exit(104);
}
const until = Date.now() + parseInt(load.duration, 10);
for (let i = 0; i < load.rate * parseInt(load.duration, 10) / 1000 && Date.now() < until; i++) iterate();
fs.writeFileSync(summary, JSON.stringify({ metrics: { http_reqs: { count: sent + Number(process.env.K6_LIES || 0) } } }));
times.sort((a, b) => a - b);
const limits = Object.values(options.thresholds || {}).flat();
const crossed = limits.some((limit) => {
  const [, p, ms] = /^p\((\d+)\)<(\d+)$/.exec(limit) || [];
  const [, share] = /^rate>([\d.]+)$/.exec(limit) || [];
  return p ? times[Math.floor((times.length - 1) * p / 100)] >= ms : share ? good / sent <= share : false;
});
process.exit(crossed ? 99 : 0);
