'use strict';

// A device on Microsoft's SDK for Node, without changes to the SDK, for tests with the emulator.
//
// It follows the sample that Microsoft published for the high availability of IoT Central:
// Node/JavaScript/failover.js of github.com/iot-for-all/iot-central-high-availability-clients.
// It registers with DPS, connects to the assigned hub, sends telemetry each interval and a property with each third
// reading, acknowledges desired properties, answers the method echo and completes the message setAlarm. On `disconnect` it
// closes the client and registers again. The retry policy is the sample's: the SDK's own, except that it ends when a hub
// says "Server unavailable". As in the sample, a reading is not sent while the SDK is disconnected.
//
// Where the sample is only a sketch, this device does what a careful programmer would do:
// - Readings are numbered, and their values are JSON numbers, not strings.
// - Each desired property of a patch is acknowledged, not only the first one.
// - There is one client at a time: a disconnection during a connect does not start a second one, and events of a closed
//   client are ignored.
// - A failed connect is retried with the SDK's back-off; the sample's process ends.
// - SIGTERM closes the client, for at most five seconds.
// It remembers no assignment, keeps no reading, and configures nothing else of the SDK.

const crypto = require('crypto');
const { setTimeout: sleep } = require('timers/promises');
const { ExponentialBackOffWithJitter } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Mqtt: ProvisioningTransport } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');

class RetryPolicy extends ExponentialBackOffWithJitter {
  shouldRetry(err) {
    return err.message !== 'Connection refused: Server unavailable' && super.shouldRetry(err);
  }
}

const modelId = 'dtmi:Sample:Failover;1';
const run = crypto.randomBytes(4).toString('hex');
const policy = new RetryPolicy();
const settings = read(process.env);

let client = null;
let twin = null;
let timer;
let connected = false;
let readings = 0;

// read reads the settings from the environment: those that `failover emulator` prints, and FAILOVER_INTERVAL. It also knows
// two variables of `failover run`: FAILOVER_DEVICE_KEY instead of the group key, and FAILOVER_TELEMETRY_INTERVAL.
function read(env) {
  const need = (name) => env[name] || refuse(`${name} is missing`);
  const deviceId = need('FAILOVER_DEVICE_ID');
  if (env.FAILOVER_CA_FILE && !env.NODE_EXTRA_CA_CERTS) {
    refuse('NODE_EXTRA_CA_CERTS is missing: set it to the value of FAILOVER_CA_FILE, because the SDK has no option for the CA of DPS');
  }
  return {
    host: need('FAILOVER_PROVISIONING_HOST'),
    scope: need('FAILOVER_ID_SCOPE'),
    deviceId,
    key: env.FAILOVER_DEVICE_KEY || derive(need('FAILOVER_GROUP_KEY'), deviceId),
    interval: milliseconds(env.FAILOVER_INTERVAL || env.FAILOVER_TELEMETRY_INTERVAL || '1s'),
  };
}

function refuse(why) {
  console.error(why);
  process.exit(2);
}

function derive(groupKey, deviceId) {
  return crypto.createHmac('sha256', Buffer.from(groupKey, 'base64')).update(deviceId).digest('base64');
}

// milliseconds reads a duration as Go writes it: 200ms, 1s, 1m30s.
function milliseconds(text) {
  const units = { ms: 1, s: 1000, m: 60000, h: 3600000 };
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) refuse(`${text} is not a duration such as 200ms, 1s or 1m30s`);
  return [...text.matchAll(/([\d.]+)(ms|[smh])/g)].reduce((sum, [, n, unit]) => sum + n * units[unit], 0);
}

function say(event, more) {
  console.log(JSON.stringify({ t: new Date().toISOString(), event, ...more }));
}

async function main() {
  for (let failures = 0; ;) {
    try {
      await session();
      failures = 0;
    } catch (err) {
      say('failed', { error: err.message });
      await sleep(policy.nextRetryTimeout(++failures, false));
    }
  }
}

// session runs one client, from its registration until the SDK reports that it is disconnected.
async function session() {
  const { assignedHub: hub, deviceId } = await register();
  const current = Client.fromConnectionString(`HostName=${hub};DeviceId=${deviceId};SharedAccessKey=${settings.key}`, Mqtt);
  client = current;
  try {
    current.setRetryPolicy(policy);
    await current.setOptions({ modelId });
    const gone = new Promise((resolve) => {
      current.on('disconnect', (result) => {
        if (client !== current) return;
        connected = false;
        say('disconnected', { hub, error: result.transportObj?.message });
        resolve(false);
      });
    });
    current.on('connect', () => {
      if (client !== current) return;
      connected = true;
      say('connected', { hub });
    });
    current.on('error', (err) => say('error', { hub, error: err.message }));
    current.on('message', (message) => command(current, message));
    if (!await Promise.race([gone, open(current)])) throw new Error('disconnected during the setup');
    await gone;
  } finally {
    connected = false;
    client = twin = null;
    await current.close();
  }
}

async function register() {
  say('registering');
  const security = new SymmetricKeySecurityClient(settings.deviceId, settings.key);
  const dps = ProvisioningDeviceClient.create(settings.host, settings.scope, new ProvisioningTransport(), security);
  dps.setProvisioningPayload({ modelId });
  const assignment = await dps.register();
  say('registered', { hub: assignment.assignedHub });
  return assignment;
}

async function open(current) {
  await current.open();
  const properties = await current.getTwin();
  if (client !== current) return false;
  twin = properties;
  twin.on('properties.desired', desired);
  current.onDeviceMethod('echo', echo);
  timer ??= setInterval(take, settings.interval);
  return true;
}

// take sends a reading, and each third time a property.
function take() {
  const id = `${run}-${++readings}`;
  if (!connected) {
    say('lost', { id, error: 'not connected' });
    return;
  }
  const message = new Message(JSON.stringify({ n: readings, temp: random(20, 30), humidity: random(40, 60) }));
  message.messageId = id;
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  client.sendEvent(message).then(() => say('delivered', { id }), (err) => say('lost', { id, error: err.message }));
  if (readings % 3 === 0) report({ battery: random(0, 100) });
}

function random(from, to) {
  return Math.round((from + (to - from) * Math.random()) * 100) / 100;
}

function report(properties) {
  twin?.properties.reported.update(properties, (err) => {
    say(err ? 'unreported' : 'reported', { properties, error: err?.message });
  });
}

function desired({ $version, ...properties }) {
  for (const [name, value] of Object.entries(properties)) {
    say('desired', { name, value, version: $version });
    report({ [name]: { value, ac: 200, ad: 'completed', av: $version } });
  }
}

async function echo(request, response) {
  say('method', { name: request.methodName, payload: request.payload });
  try {
    await response.send(200, request.payload);
  } catch (err) {
    say('unanswered', { error: err.message });
  }
}

async function command(current, message) {
  const name = message.properties.getValue('method-name');
  say('command', { name, parameter: message.getData().toString() });
  if (name === 'setAlarm') await current.complete(message);
}

async function stop() {
  setTimeout(() => process.exit(0), 5000); // close waits for PUBACKs, which may never come
  clearInterval(timer);
  await client?.close();
  say('closed');
  process.exit(0);
}

process.on('SIGTERM', stop);
process.on('SIGINT', stop);
main();
