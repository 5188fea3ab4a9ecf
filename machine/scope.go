package machine

import (
	"errors"
	"fmt"
	"strings"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// A scope is the content of scope.json: the ID scope and the DPS for which the device keeps what is pending. It
// has a file of its own, so that an operator can remove it to let another DPS have the readings.
type scope struct {
	Host    string `json:"dpsHost"`
	IDScope string `json:"idScope"`
}

func (s *stateDir) scope() scope { return scope{s.identity.ProvisioningHost, s.identity.IDScope} }

// sameAs reports whether two scopes are of one tenant. The port does not matter, and neither does the case of
// a host name.
func (a scope) sameAs(b scope) bool {
	host, _, _ := payloads.HostPort(a.Host, "8883")
	other, _, _ := payloads.HostPort(b.Host, "8883")
	return strings.EqualFold(host, other) && a.IDScope == b.IDScope
}

// checkScope returns an error if anything is pending for another ID scope or another DPS, to which this device
// would send it. A directory of an earlier version does not name them.
func (s *stateDir) checkScope() error {
	var was scope
	path := s.file("scope.json").Path()
	ok, err := statefile.At(path).Load(&was)
	if err != nil {
		s.warn(err)
	}
	if !ok || was.sameAs(s.scope()) {
		return nil
	}
	pending, err := s.pending()
	switch {
	case errors.As(err, new(*statefile.VersionError)):
		return err
	case err != nil:
		pending = fmt.Sprintf("an outbox that cannot be read (%v)", err)
	case pending == "":
		return nil
	}
	return &foreignError{
		text: fmt.Sprintf("%s holds %s for ID scope %.64q at %.128q, and the settings name ID scope %.64q at %.128q",
			s.StateDir, pending, was.IDScope, was.Host, s.identity.IDScope, s.identity.ProvisioningHost),
		advice: fmt.Sprintf("let the device deliver with its earlier settings first, "+
			"or give it a directory of its own; "+
			"if the new scope may have what is pending, remove %s and start again", path),
	}
}
