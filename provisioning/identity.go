package provisioning

import (
	"errors"
	"strings"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/transport"
)

// An Identity says which device asks which Device Provisioning Service.
type Identity struct {
	// ProvisioningHost is the host name of DPS, with a port if that is not 8883. Zero means
	// global.azure-devices-provisioning.net.
	ProvisioningHost string
	// IDScope is the ID scope that the overview of the DPS instance shows.
	IDScope string
	// RegistrationID is the device's name at DPS, best in lower case: DPS ignores case, but a key
	// derived from a group key fits one spelling only.
	RegistrationID string
	// Key returns the device's key. It is called at each dial. Of its errors only the text of a
	// *transport.KeyError is shown.
	Key transport.KeySource
	// ModelID is the device's DTDL model, such as dtmi:com:example:Thermostat;1. Zero means that the
	// device has no model.
	ModelID string
	// ModelKey is the name of ModelID in the payload of the registration: modelId, or iotcModelId as in
	// older samples of IoT Central. Zero means modelId.
	ModelKey string
}

// WithDefaults returns i with the defaults in the place of zero fields.
func (i Identity) WithDefaults() Identity {
	settings.Default(&i.ProvisioningHost, "global.azure-devices-provisioning.net")
	settings.Default(&i.ModelKey, "modelId")
	return i
}

// Check returns a *settings.FieldError for each field that is missing or cannot be used, joined.
func (i Identity) Check() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, settings.Wrong(field, format, args...))
	}
	i = i.WithDefaults()
	if _, _, err := payloads.HostPort(i.ProvisioningHost, "8883"); err != nil {
		wrong("ProvisioningHost", "is wrong: %w", err)
	}
	switch {
	case i.IDScope == "":
		wrong("IDScope", "is missing")
	case strings.ContainsAny(i.IDScope, "/ \t\r\n"):
		wrong("IDScope", "is %.100q: copy it without slashes, spaces and line ends", i.IDScope)
	}
	if i.RegistrationID == "" {
		wrong("RegistrationID", "is missing")
	} else if err := payloads.CheckRegistrationID(i.RegistrationID); err != nil {
		wrong("RegistrationID", "is wrong: %w", err)
	}
	if i.Key == nil {
		wrong("Key", "is missing")
	}
	if i.ModelKey != "modelId" && i.ModelKey != "iotcModelId" {
		wrong("ModelKey", "is %q: modelId or iotcModelId", i.ModelKey)
	}
	return errors.Join(errs...)
}

// payload returns what a device with a model sends with its registration, for IoT Central or a
// custom allocation, and nil for a device without a model.
func (i Identity) payload() any {
	if i.ModelID == "" {
		return nil
	}
	return map[string]string{i.ModelKey: i.ModelID}
}
