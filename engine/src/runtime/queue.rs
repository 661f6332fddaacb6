//! A queue that stores its first element inline, because it nearly always has at most one.

use std::collections::VecDeque;

/// A first-in, first-out queue. It has no heap memory unless it holds two or more elements.
#[derive(Debug)]
pub(crate) struct InlineQueue<T> {
    first: Option<T>,
    #[expect(clippy::box_collection, reason = "8 bytes instead of 32 in every idle connection")]
    /// `Some` only while the queue has two or more elements.
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for InlineQueue<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> InlineQueue<T> {
    #[inline]
    pub(crate) fn push_back(&mut self, value: T) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.rest.get_or_insert_default().push_back(value);
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let value = self.first.take()?;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                // Free the memory, so that an idle connection owns none.
                self.rest = None;
            }
        }
        Some(value)
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    #[inline]
    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        match &mut self.rest {
            None => self.first.as_mut(),
            Some(rest) => rest.back_mut(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.first.iter_mut().chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_across_the_first_and_the_rest() {
        let mut queue = InlineQueue::default();
        for round in 0..3 {
            for value in 0..4 {
                queue.push_back(round * 10 + value);
            }
            assert_eq!(queue.len(), 4);
            assert_eq!(queue.iter_mut().map(|value| *value % 10).collect::<Vec<_>>(), [0, 1, 2, 3]);
            for value in 0..4 {
                assert_eq!(queue.back_mut(), Some(&mut (round * 10 + 3)));
                assert_eq!(queue.front_mut(), Some(&mut (round * 10 + value)));
                assert_eq!(queue.front(), Some(&(round * 10 + value)));
                assert_eq!(queue.pop_front(), Some(round * 10 + value));
            }
            assert!(queue.is_empty());
            assert_eq!(queue.pop_front(), None);
        }
    }
}
