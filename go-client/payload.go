package ipcchannel

// payload collects a large payload in one slice of its size. A header alone must
// not cost that much, whatever length it claims: the slice is made once as much
// as allowance has arrived, which is then copied. The kernel gives memory to so large
// a slice only as it is filled; until then it is address space.
type payload struct {
	size int    // of the payload, 0 if none is under way
	data []byte // what has arrived
	lent bool   // data is the caller's memory
}

func (p *payload) have() int    { return len(p.data) }
func (p *payload) missing() int { return p.size - len(p.data) }

func (p *payload) begin(dst []byte, size int) {
	*p = payload{size: size}
	if cap(dst) >= size {
		p.data, p.lent = dst[:0], true
	}
}

func (p *payload) space() []byte {
	have := len(p.data)
	if have == cap(p.data) {
		p.move()
	}
	return p.data[have:min(cap(p.data), p.size)]
}

func (p *payload) filled(n int) { p.data = p.data[:len(p.data)+n] }

// keep copies what has arrived in the caller's memory, if it is there.
func (p *payload) keep() {
	if p.lent {
		p.move()
	}
}

// move copies what has arrived to memory of our own, with room for more.
func (p *payload) move() {
	room := p.size
	if len(p.data) < allowance {
		room = min(p.size, allowance)
	}
	p.data, p.lent = append(make([]byte, 0, room), p.data...), false
}

// message returns the whole payload, in the memory of dst if that is large enough,
// and makes p ready for the next payload.
func (p *payload) message(dst []byte) []byte {
	message := p.data
	if !p.lent && cap(dst) >= p.size {
		message = append(dst[:0], message...)
	}
	*p = payload{}
	return message
}
