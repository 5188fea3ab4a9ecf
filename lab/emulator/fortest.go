package emulator

// TB is what ForTest needs of a *testing.T, so that no binary links the testing package.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// ForTest starts a cloud that ends with the test.
func ForTest(t TB, config Config) *Cloud {
	t.Helper()
	c, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
