// Package payloads says what the bytes mean that a device and its cloud exchange over MQTT: the topics
// of DPS and IoT Hub, telemetry, the device twin, direct methods, commands and registration.
//
// It does no I/O and keeps no state. Whatever comes from outside is taken as possibly wrong: a parser
// answers with an error, it never panics and never guesses.
package payloads
