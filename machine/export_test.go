package machine

// BeforeSaves has a test do something before each assignment is stored. It is called before Run.
func (d *Device) BeforeSaves(do func()) {
	save := d.saver.save
	d.saver.save = func(a Assignment) error {
		do()
		return save(a)
	}
}
