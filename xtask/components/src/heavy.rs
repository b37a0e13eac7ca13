//! A component that is heavy to compile.

/// A component of no world, with so many functions of so many additions each: many functions take the
/// compiler time, a large one takes it memory.
pub fn heavy(functions: usize, additions: usize) -> Vec<u8> {
    // So that no pass can fold them, each takes the parameter: local.get 0.
    let mut body = vec![0, 0x20, 0];
    for _ in 0..additions {
        body.extend_from_slice(&[0x20, 0, 0x41, 3, 0x6c, 0x73, 0x41, 5, 0x6a]);
    }
    body.push(0x0b);
    let body = [leb(body.len()), body].concat();
    let section = |id: u8, content: &[u8]| [&[id][..], &leb(content.len()), content].concat();
    let core = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]),
        section(3, &[leb(functions), vec![0; functions]].concat()),
        section(10, &[leb(functions), body.repeat(functions)].concat()),
    ]
    .concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &core)].concat()
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
