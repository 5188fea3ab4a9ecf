// Package slow marks the tests that go test -short leaves out.
package slow

import "testing"

// Test skips a test of about a second or more, if the tests run with -short.
func Test(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out slow tests")
	}
}
