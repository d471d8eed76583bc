//! Going over a struct of Thrift's compact protocol without building anything.

/// Structs in structs; the format needs six.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Byte,
    Integer,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    fn of(code: u8) -> Result<Self, &'static str> {
        Ok(match code {
            1 | 2 => Self::Boolean,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err("its metadata has a field of no type"),
        })
    }
}

/// What is said where bytes are missing.
pub(super) const CUT_OFF: &str = "its metadata is cut off";

/// The bytes that have not been gone over.
pub(super) struct Walker<'a> {
    pub(super) rest: &'a [u8],
}

/// Takes a field's value if it wants it; returns whether it did.
type Visit<'v> = dyn FnMut(&mut Walker<'_>, i16, Kind) -> Result<bool, &'static str> + 'v;

impl Walker<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.rest.split_first().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*first)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.rest = self.rest.get(bytes..).ok_or(CUT_OFF)?;
        Ok(())
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("its metadata has a number of more than 64 bits")
    }

    /// Zigzag: the sign is the lowest bit.
    pub(super) fn integer(&mut self) -> Result<i64, &'static str> {
        let number = self.varint()?;
        let half = i64::try_from(number >> 1).unwrap_or(i64::MAX);
        Ok(if number & 1 == 0 { half } else { -half - 1 })
    }

    /// Reads a list's header. Each element takes a byte at least; lists of truth
    /// values, of which decoders differ in this, the format has none.
    pub(super) fn list(&mut self) -> Result<(u64, Kind), &'static str> {
        let header = self.byte()?;
        if header == 0 {
            return Ok((0, Kind::Byte));
        }
        let size = match header >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        if size > self.rest.len() as u64 {
            return Err("its metadata claims a list that is longer than the file");
        }
        match Kind::of(header & 0x0F)? {
            Kind::Boolean => Err("its metadata has a list of truth values"),
            element => Ok((size, element)),
        }
    }

    /// Goes over a struct that lies `depth` levels deep.
    pub(super) fn structure(
        &mut self,
        depth: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), &'static str> {
        let mut field = 0_i16;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            field = match header >> 4 {
                0 => i16::try_from(self.integer()?).unwrap_or(i16::MAX),
                delta => field.saturating_add(i16::from(delta)),
            };
            let kind = Kind::of(header & 0x0F)?;
            // Of a field that is a truth value the header says all.
            if !visit(self, field, kind)? && kind != Kind::Boolean {
                self.value(kind, depth + 1, visit)?;
            }
        }
    }

    /// Goes over a value. Fields of structs in it are none of the visitor's, but
    /// for their kinds, of which it is told as field 0.
    fn value(
        &mut self,
        kind: Kind,
        depth: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), &'static str> {
        if depth > MAX_DEPTH {
            return Err("its metadata is nested too deeply");
        }
        match kind {
            Kind::Boolean | Kind::Byte => self.skip(1),
            Kind::Integer => self.varint().map(|_| ()),
            Kind::Double => self.skip(8),
            Kind::Uuid => self.skip(16),
            Kind::Binary => {
                let length = self.varint()?;
                self.skip(usize::try_from(length).map_err(|_| CUT_OFF)?)
            }
            Kind::List => {
                let (size, element) = self.list()?;
                (0..size).try_for_each(|_| self.value(element, depth + 1, visit))
            }
            Kind::Map => self.map(depth, visit),
            Kind::Struct => self.structure(depth, &mut |walker, _, kind| visit(walker, 0, kind)),
        }
    }

    fn map(&mut self, depth: usize, visit: &mut Visit<'_>) -> Result<(), &'static str> {
        let size = self.varint()?;
        if size == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0F)?);
        if size > self.rest.len() as u64 {
            return Err("its metadata claims a map that is longer than the file");
        }
        for _ in 0..size {
            self.value(key, depth + 1, visit)?;
            self.value(value, depth + 1, visit)?;
        }
        Ok(())
    }
}
