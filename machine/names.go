package machine

import (
	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// What a program that embeds a device needs of other packages, so that it imports this one only.
type (
	Reading      = payloads.Reading      // one telemetry message: Body, Properties, Taken, Component
	Message      = payloads.Message      // a cloud-to-device message
	PropertyName = payloads.PropertyName // of a desired property: Component, "" for the device itself, and Name
	Record       = observe.Record        // one event of the device's life

	Handlers    = hub.Handlers    // the program's code: Method, Command, Desired
	PropertyAck = hub.PropertyAck // the acknowledgement to a desired property
	Delivery    = hub.Delivery    // how readings go from the outbox to the hub
	Kinds       = hub.Kinds       // a set of the kinds of things that a device and its hub exchange

	Limits     = outbox.Limits           // bounds of the outbox
	Assignment = provisioning.Assignment // what DPS has assigned: Hub, DeviceID, Substatus, Payload
	Identity   = provisioning.Identity   // who the device is
	Link       = transport.Link          // how to reach a host
)
