package natsbus

// OthersStop reports whether b heard that another node is stopping.
func (b *Bus) OthersStop() bool {
	b.parting.mu.Lock()
	defer b.parting.mu.Unlock()
	return len(b.parting.others) > 0
}
