package emulator

// TB is the part of *testing.T that ForTest needs. With it, no binary links the testing package.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// ForTest starts a cloud and closes it at the end of the test.
func ForTest(t TB, config Config) *Cloud {
	t.Helper()
	c, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
