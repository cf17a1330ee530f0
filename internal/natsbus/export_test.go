package natsbus

// OthersStop reports whether b heard that another node is stopping.
func (b *Bus) OthersStop() bool { return b.parting.waits() }
