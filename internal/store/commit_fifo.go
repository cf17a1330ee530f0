package store

// fifo is a queue that keeps its memory while it is used and gives it up after
// a peak.
type fifo[T any] struct {
	items []T
	head  int
}

// keepFifo is the room an empty fifo may keep.
const keepFifo = 4096

func (q *fifo[T]) len() int { return len(q.items) - q.head }

// front is the oldest item; the fifo must not be empty.
func (q *fifo[T]) front() *T { return &q.items[q.head] }

func (q *fifo[T]) push(item T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		// More than half is free in front: move down instead of growing.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// take moves up to n of the oldest items to the end of dst.
func (q *fifo[T]) take(dst []T, n int) []T {
	n = min(n, q.len())
	taken := q.items[q.head : q.head+n]
	dst = append(dst, taken...)
	clear(taken) // let go of what they point at
	q.head += n
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > keepFifo {
			q.items = nil
		}
	}
	return dst
}
