//! roundel
