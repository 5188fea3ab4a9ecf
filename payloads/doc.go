// Package payloads reads and writes the bytes that a device and its cloud exchange over MQTT: the
// topics of DPS and IoT Hub, telemetry, the device twin, direct methods, cloud-to-device messages
// and registration.
//
// It does no I/O and keeps no state. Input from outside may be wrong in any way: a parser returns
// an error, and never panics or guesses. Sources named "azure-docs" are paths in
// github.com/MicrosoftDocs/azure-docs.
package payloads
