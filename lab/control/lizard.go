package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"giantlizard.example/failover/lab/emulator"
)

// A faultAnswer describes a fault.
type faultAnswer struct {
	Name       emulator.Fault `json:"name"`
	On         []string       `json:"on"`
	Doc        string         `json:"doc"`
	Parameters []string       `json:"parameters"`
}

// A strike is a fault in force at a target, or one to come. Parameters are as emulator.Params.Set takes them.
type strike struct {
	Target     string            `json:"target"`
	Fault      emulator.Fault    `json:"fault"`
	Parameters map[string]string `json:"parameters"`
}

func (d *Server) faults(*http.Request, []byte) (int, any, error) {
	all := []faultAnswer{}
	for _, f := range emulator.Faults() {
		all = append(all, faultAnswer{f.Name, f.Targets, f.Description, append([]string{"for"}, f.Parameters...)})
	}
	return http.StatusOK, map[string]any{"faults": all}, nil
}

func (d *Server) strikes(*http.Request, []byte) (int, any, error) {
	all := []strike{}
	for _, s := range d.cloud.ActiveFaults() {
		all = append(all, strike{s.Target, s.Fault, s.Params.Given()})
	}
	return http.StatusOK, map[string]any{"strikes": all}, nil
}

func (d *Server) strike(_ *http.Request, body []byte) (int, any, error) {
	var s strike
	if err := decode(body, &s, true); err != nil {
		return 0, nil, err
	}
	if s.Target == "" || s.Fault == "" {
		return 0, nil, wrong("The body has to name a target and a fault.")
	}
	var params emulator.Params
	for _, name := range sortedKeys(s.Parameters) {
		if err := params.Set(name, s.Parameters[name]); err != nil {
			return 0, nil, wrong("%s", sentence(err))
		}
	}
	if err := d.cloud.Inject(s.Target, s.Fault, params); err != nil {
		return 0, nil, unstruck(err)
	}
	return http.StatusCreated, strike{s.Target, s.Fault, params.Given()}, nil
}

// heal ends one fault at a target, all there, or all that there are.
func (d *Server) heal(r *http.Request, _ []byte) (int, any, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // URL.Query leaves out what it cannot read, and then everything would be healed
		return 0, nil, wrong("The query is ?target=A&fault=fin, percent-encoded, and cannot be read: %s.", err.Error())
	}
	for name, values := range query {
		if name != "target" && name != "fault" || len(values) > 1 { // a slip must not heal everything
			return 0, nil, wrong("The query is ?target=A&fault=fin, each once at most, and %.60q is not that.", name)
		}
	}
	fault := emulator.Fault(query.Get("fault"))
	if query.Has("fault") && !slices.ContainsFunc(emulator.Faults(), func(f emulator.FaultInfo) bool { return f.Name == fault }) {
		return 0, nil, wrong("There is no fault %.60q.", fault)
	}
	if query.Has("target") {
		err = d.cloud.Clear(query.Get("target"), fault)
	} else {
		err = d.healAll(fault)
	}
	if err != nil {
		return 0, nil, unstruck(err)
	}
	return http.StatusNoContent, nil, nil
}

func (d *Server) healAll(fault emulator.Fault) error {
	var errs []error
	for _, s := range d.cloud.ActiveFaults() {
		if fault == "" || s.Fault == fault {
			errs = append(errs, d.cloud.Clear(s.Target, s.Fault))
		}
	}
	return errors.Join(errs...)
}

func wrong(format string, values ...any) error {
	return &problem{http.StatusBadRequest, "InvalidParameter", fmt.Sprintf(format, values...)}
}

// unstruck is why a target could not be struck or healed.
func unstruck(err error) error {
	if errors.Is(err, emulator.ErrUnknownDevice) || errors.Is(err, emulator.ErrClosed) {
		return err
	}
	return wrong("%s", sentence(err))
}
