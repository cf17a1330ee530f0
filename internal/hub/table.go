package hub

import (
	"sync"
	"sync/atomic"
)

// table gives things numbers of 32 bits, which edges hold in place of pointers:
// there are fifty and more of those for each person online. A number is taken
// back with the last edge that holds it. Looking up takes no lock.
type table[T any] struct {
	chunks atomic.Pointer[[]*chunk[T]]

	mu   sync.Mutex // guards all below, and the growing of chunks
	free []uint32   // numbers that were given back
	last uint32     // the highest that was ever given; 0 never is
}

const chunkBits = 10

type chunk[T any] [1 << chunkBits]*T

// at returns what has the number. The caller must have learnt it from where it
// stands, by that lock.
func (t *table[T]) at(number uint32) *T {
	return (*t.chunks.Load())[number>>chunkBits][number%(1<<chunkBits)]
}

// add gives v a number.
func (t *table[T]) add(v *T) (number uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		number = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		t.last++
		number = t.last
		t.grow(int(number >> chunkBits))
	}
	(*t.chunks.Load())[number>>chunkBits][number%(1<<chunkBits)] = v
	return number
}

// grow makes chunks up to one. Those who look up meanwhile have the list from
// before, which is good for all numbers that they can know. The lock is held.
func (t *table[T]) grow(chunkNumber int) {
	var list []*chunk[T]
	if old := t.chunks.Load(); old != nil {
		list = *old
	}
	if chunkNumber < len(list) {
		return
	}
	list = append(list[:len(list):len(list)], &chunk[T]{})
	t.chunks.Store(&list)
}

// remove takes a number back that nothing holds any more.
func (t *table[T]) remove(number uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	(*t.chunks.Load())[number>>chunkBits][number%(1<<chunkBits)] = nil
	t.free = append(t.free, number)
}
