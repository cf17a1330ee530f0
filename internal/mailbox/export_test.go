package mailbox

// Boxes is how many mailboxes are in the index.
func (m *Mailboxes) Boxes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.boxes)
}

// Held is how much memory the texts have that the taker was given.
func (t *Taker) Held() (n int) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	for _, p := range t.given {
		n += cap(p.body)
	}
	return n
}
