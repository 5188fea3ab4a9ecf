package control_test

import (
	"io"
	"net/http"
	"testing"
)

// Health checks of containers have no token, and may use another address.
func TestReadinessNeedsNoTokenAndRevealsNothingElse(t *testing.T) {
	w := onSockets(t)
	request, err := http.NewRequest("GET", w.server.URL()+"/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "10.1.2.3:8443"
	answer, err := w.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusNoContent || len(text) > 0 {
		t.Errorf("%s: %q", answer.Status, text)
	}
	for _, path := range []string{"/", "/ready/", "/readyx", "/lizard/v1/faults"} {
		request.URL.Path = path
		answer, err := w.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode < 400 {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}
