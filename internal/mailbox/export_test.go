package mailbox

// Boxes is how many mailboxes are in the index.
func (m *Mailboxes) Boxes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.boxes)
}
