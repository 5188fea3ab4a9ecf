package control

import (
	"errors"
	"net/http"

	"giantlizard.example/failover/lab/emulator"
)

// A createdDevice tells how a device connects to its hub without DPS.
type createdDevice struct {
	DeviceID         string `json:"deviceId"`
	Hub              string `json:"hub"`
	ConnectionString string `json:"connectionString"`
}

// createDevice creates a device at a hub, unless the device is at a hub already, and answers with
// its connection string: 201 for a device that is new there, otherwise 200.
func (s *Server) createDevice(r *http.Request, body []byte) (int, any, error) {
	var asked struct {
		Hub string `json:"hub"`
	}
	if err := decode(body, &asked, createExample, true); err != nil {
		return 0, nil, err
	}
	id := r.PathValue("device")
	hub, isNew, err := s.cloud.CreateDevice(id, asked.Hub)
	switch {
	case errors.Is(err, emulator.ErrAtOtherHub):
		return 0, nil, conflict(err)
	case err != nil:
		return 0, nil, injectionProblem(err)
	}
	text, err := s.cloud.ConnectionString(id, hub)
	if err != nil {
		return 0, nil, err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	return status, createdDevice{id, hub, text}, nil
}
