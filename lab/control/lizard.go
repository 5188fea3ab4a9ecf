package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"giantlizard.example/failover/lab/emulator"
)

// A faultAnswer is the description of a fault.
type faultAnswer struct {
	Name       emulator.Fault `json:"name"`
	On         []string       `json:"on"`
	Doc        string         `json:"doc"`
	Parameters []string       `json:"parameters"`
}

// An injection is a fault at a target. The parameters are in the format of emulator.Params.Set.
type injection struct {
	Target     string            `json:"target"`
	Fault      emulator.Fault    `json:"fault"`
	Parameters map[string]string `json:"parameters"`
}

func (s *Server) faults(*http.Request, []byte) (int, any, error) {
	all := []faultAnswer{}
	for _, f := range emulator.Faults() {
		all = append(all, faultAnswer{f.Name, f.Targets, f.Description, append([]string{"for"}, f.Parameters...)})
	}
	return http.StatusOK, map[string]any{"faults": all}, nil
}

func (s *Server) listActive(*http.Request, []byte) (int, any, error) {
	all := []injection{}
	for _, active := range s.cloud.ActiveFaults() {
		all = append(all, injection{active.Target, active.Fault, active.Params.Given()})
	}
	return http.StatusOK, map[string]any{"strikes": all}, nil
}

func (s *Server) inject(_ *http.Request, body []byte) (int, any, error) {
	var asked injection
	if err := decode(body, &asked, injectionExample, true); err != nil {
		return 0, nil, err
	}
	if asked.Target == "" || asked.Fault == "" {
		return 0, nil, invalidParameter("The body must name a target and a fault, such as %s.", injectionExample)
	}
	var params emulator.Params
	for _, name := range sortedKeys(asked.Parameters) {
		if err := params.Set(name, asked.Parameters[name]); err != nil {
			return 0, nil, invalidParameter("%s", sentence(err))
		}
	}
	if err := s.cloud.Inject(asked.Target, asked.Fault, params); err != nil {
		return 0, nil, injectionProblem(err)
	}
	return http.StatusCreated, injection{asked.Target, asked.Fault, params.Given()}, nil
}

// clear clears one fault at a target, all faults at a target, one fault everywhere, or all faults.
func (s *Server) clear(r *http.Request, _ []byte) (int, any, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // URL.Query would ignore a bad query, and all faults would be cleared
		return 0, nil, invalidParameter("The query must be ?target=A&fault=fin, percent-encoded: %s.", err.Error())
	}
	for name, values := range query {
		if name != "target" && name != "fault" || len(values) > 1 { // a typing error must not clear all faults
			return 0, nil, invalidParameter("The query must be ?target=A&fault=fin, each at most once; "+
				"%.60q is unknown "+
				"or repeated.", name)
		}
	}
	fault := emulator.Fault(query.Get("fault"))
	isFault := func(f emulator.FaultInfo) bool { return f.Name == fault }
	if query.Has("fault") && !slices.ContainsFunc(emulator.Faults(), isFault) {
		return 0, nil, invalidParameter("There is no fault %.60q.", fault)
	}
	if query.Has("target") {
		err = s.cloud.Clear(query.Get("target"), fault)
	} else {
		err = s.clearEverywhere(fault)
	}
	if err != nil {
		return 0, nil, injectionProblem(err)
	}
	return http.StatusNoContent, nil, nil
}

func (s *Server) clearEverywhere(fault emulator.Fault) error {
	var errs []error
	for _, active := range s.cloud.ActiveFaults() {
		if fault == "" || active.Fault == fault {
			errs = append(errs, s.cloud.Clear(active.Target, active.Fault))
		}
	}
	return errors.Join(errs...)
}

func invalidParameter(format string, values ...any) error {
	return &problem{http.StatusBadRequest, "InvalidParameter", fmt.Sprintf(format, values...)}
}

// injectionProblem converts an error of Inject or Clear to a problem.
func injectionProblem(err error) error {
	if errors.Is(err, emulator.ErrUnknownDevice) || errors.Is(err, emulator.ErrClosed) {
		return err
	}
	return invalidParameter("%s", sentence(err))
}
