// A back end on the official service SDKs for Node. It creates, shows and deletes a device and its
// enrollment, changes the twin of another device, queries, and calls a direct method of that device. It
// prints the result of each step as a line of JSON.
//
// The SDKs always use port 443. An agent takes them to the port of the emulator, which is the port in
// the connection string.
'use strict'

const https = require('https')
const { Registry, Client } = require('azure-iothub')
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service')

// take makes a client of the SDK use the host and port of its connection string.
function take (client, connectionString) {
  const [, host, port] = /HostName=([^;:]*):(\d+)/.exec(connectionString)
  client._restApiClient.setOptions({ http: { agent: new https.Agent({ host, port, servername: host, keepAlive: false }) } })
  return client
}

const hub = process.env.FAILOVER_HUB_SERVICE
const dps = process.env.FAILOVER_DPS_SERVICE
const device = process.env.FAILOVER_DEVICE_ID

const registry = take(Registry.fromConnectionString(hub), hub)
const client = take(Client.fromConnectionString(hub), hub)
const provisioning = take(ProvisioningServiceClient.fromConnectionString(dps), dps)

// failure returns what the SDK makes of a refusal.
const failure = (error) => ({ failure: error.name, status: error.response && error.response.statusCode })

const steps = {
  create: async () => (await registry.create({ deviceId: 'made' })).responseBody,
  createAgain: () => registry.create({ deviceId: 'made' }).catch(failure),
  show: async () => (await registry.get('made')).responseBody,
  update: async () => (await registry.update({ deviceId: 'made', status: 'disabled' })).responseBody,
  list: async () => (await registry.list()).responseBody.map((d) => d.deviceId),
  query: async () => {
    const query = registry.createQuery("SELECT * FROM devices WHERE status = 'enabled'", 1)
    const found = []
    while (query.hasMoreResults) found.push(...(await query.nextAsTwin()).result.map((t) => t.deviceId))
    return found
  },
  twin: async () => (await registry.updateTwin(device, { tags: { site: 'x' }, properties: { desired: { fanSpeed: 3 } } }, '*')).responseBody,
  staleTwin: () => registry.updateTwin(device, { tags: { site: 'y' } }, 'AAAAAAAAAAE=').catch(failure),
  method: async () => (await client.invokeDeviceMethod(device, { methodName: 'echo', payload: { a: 1 }, responseTimeoutInSeconds: 10 })).result,
  remove: async () => { await registry.delete('made'); return {} },
  showRemoved: () => registry.get('made').catch(failure),
  enroll: async () => (await provisioning.createOrUpdateIndividualEnrollment({
    registrationId: 'made', attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: '', secondaryKey: '' } }
  })).responseBody,
  keys: async () => (await provisioning.getIndividualEnrollmentAttestationMechanism('made')).responseBody,
  groups: async () => {
    const query = provisioning.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' }, 10)
    return (await new Promise((resolve, reject) => query.next((e, r) => e ? reject(e) : resolve(r)))).map((g) => g.enrollmentGroupId)
  },
  registration: async () => (await provisioning.getDeviceRegistrationState(device)).responseBody,
  unenroll: async () => { await provisioning.deleteIndividualEnrollment('made'); return {} }
}

async function main () {
  for (const [step, run] of Object.entries(steps)) {
    let result
    try {
      result = await run()
    } catch (error) {
      result = { error: String(error), body: error.responseBody }
    }
    console.log(JSON.stringify({ step, result }))
  }
}

main()
