# frozen_string_literal: true

# The state of logship's streams: which numbers came, and which are declared as gaps.
#
# Every record carries a stamp, "STREAM:NUMBER", and the numbers of a stream have no hole. So a
# number that comes again is a duplicate, and a number that never comes is a loss. This file is pure:
# it uses no Fluentd, no clock and no log. `out_logship_dedup.rb` acts on its results.
#
# To stay within bounds, old numbers are forgotten. They count as never seen: a duplicate may then
# pass, but a new record is never taken for a duplicate.

module Logship
  # A set of numbers as ranges, ascending and apart. A stream that arrives in order is one range.
  class IntervalSet
    include Enumerable

    def initialize
      @firsts = []
      @lasts = []
    end

    # The number of ranges, which is the memory that the set needs.
    def size
      @firsts.size
    end

    def empty?
      @firsts.empty?
    end

    # The lowest number, or nil.
    def min
      @firsts.first
    end

    # The highest number, or nil.
    def max
      @lasts.last
    end

    def include?(number)
      highest = @lasts.last
      return false if highest.nil? || number > highest

      index = @lasts.bsearch_index { |last| last >= number }
      @firsts[index] <= number
    end

    # Yields first and last of each range.
    def each
      @firsts.each_index { |index| yield @firsts[index], @lasts[index] }
    end

    # Adds all numbers of a range, both ends included.
    def add(first, last = first)
      highest = @lasts.last
      if highest.nil? || first > highest + 1
        @firsts.push(first)
        @lasts.push(last)
      elsif first == highest + 1
        @lasts[-1] = last
      else
        insert(first, last)
      end
    end

    # Adds all numbers of another set.
    def merge(other)
      other.each { |first, last| add(first, last) }
    end

    # Removes the lowest range and returns its last number.
    def forget_lowest
      @firsts.shift
      @lasts.shift
    end

    # Returns the ranges of from..to that are not in the set, as pairs.
    def holes(from, to)
      found = []
      each do |first, last|
        next if last < from
        break if first > to

        found << [from, first - 1] if first > from
        from = last + 1
      end
      found << [from, to] if from <= to
      found
    end

    private

    def insert(first, last)
      # All ranges from `left` to before `right` touch the new range and are merged with it.
      left = @lasts.bsearch_index { |each| each >= first - 1 } || @lasts.size
      right = @firsts.bsearch_index { |each| each > last + 1 } || @firsts.size
      if left < right
        first = [first, @firsts[left]].min
        last = [last, @lasts[right - 1]].max
      end
      @firsts[left...right] = [first]
      @lasts[left...right] = [last]
    end
  end

  # One stream: the numbers that came, that were declared, and that are overdue.
  class Stream
    attr_reader :id, :tag, :seen
    attr_accessor :touched, :duplicates

    # ranges_max: how many ranges of numbers it keeps; above that the lowest is forgotten.
    def initialize(id, tag, ranges_max)
      @id = id
      @tag = tag
      @ranges_max = ranges_max
      @seen = IntervalSet.new
      @excused = IntervalSet.new # declared as gaps, or reported as missing already
      @complete_from = nil # lower numbers are not checked
      @snapshots = [] # [time, highest number then], ascending
      @touched = nil
      @duplicates = 0
    end

    # The number from which on holes are reported: 1, unless the stream began before the plugin.
    def complete_from
      @complete_from || 1
    end

    # Adds the numbers that have been passed on, and the gaps declared among them.
    def commit(numbers, gaps)
      @complete_from ||= numbers.min || 1
      @seen.merge(numbers)
      gaps.each { |first, last| @excused.add(first, last) }
      keep_within_bounds
    end

    # Returns the ranges that no record and no gap accounts for, each range once.
    #
    # horizon: the highest number that should have come by now.
    def missing(horizon)
      return [] if @seen.size == 1 && @seen.min <= complete_from # in order: by far the most common case

      accounted = IntervalSet.new
      ranges = (@seen.to_a + @excused.to_a).sort
      ranges.each { |first, last| accounted.add(first, last) }
      found = accounted.holes(complete_from, horizon)
      found.each { |first, last| @excused.add(first, last) }
      keep_within_bounds
      found
    end

    # Notes the highest number now, and returns the highest number of `wait` seconds ago.
    def horizon(now, wait)
      highest = @seen.max || 0
      @snapshots << [now, highest] if @snapshots.empty? || @snapshots.last[1] != highest
      old = @snapshots.rindex { |time, _| time <= now - wait }
      return 0 if old.nil?

      @snapshots.shift(old)
      @snapshots.first[1]
    end

    private

    def keep_within_bounds
      [@seen, @excused].each do |set|
        while set.size > @ranges_max
          forgotten = set.forget_lowest
          @complete_from = [complete_from, forgotten + 1].max
        end
      end
    end
  end

  # All streams, and the rule that finds duplicates. Not thread-safe.
  class Streams
    STAMP = /\A([A-Za-z0-9_-]{12}):(\d{10})\z/
    GAP_KEY = "logship_gap"

    # The numbers that one chunk would add. They do not count before `commit`.
    Batch = Struct.new(:numbers, :gaps, :duplicates)

    # stamp_key: the field that holds the stamp.
    # streams_max: how many streams are kept; above that the longest silent one is forgotten.
    # ranges_max: as for Stream.
    # silence: a stream is forgotten after this many seconds without a record.
    def initialize(stamp_key:, streams_max:, ranges_max:, silence:)
      @stamp_key = stamp_key
      @streams_max = streams_max
      @ranges_max = ranges_max
      @silence = silence
      @streams = {} # in the order of their last record
    end

    def size
      @streams.size
    end

    def each(&block)
      @streams.each_value(&block)
    end

    # Returns a batch. `fresh?` fills it; then it is committed or discarded.
    def batch
      Hash.new { |batches, id| batches[id] = Batch.new(IntervalSet.new, [], 0) }
    end

    # Tells whether a record is new, and notes it in the batch. A record without a stamp is always new.
    def fresh?(record, batch)
      match = stamp_of(record)
      return true unless match

      mine = batch[match[1]]
      number = match[2].to_i
      if mine.numbers.include?(number) || @streams[match[1]]&.seen&.include?(number)
        mine.duplicates += 1
        return false
      end
      mine.numbers.add(number)
      note_gap(record[GAP_KEY], mine.gaps)
      true
    end

    # Adds a batch that has been passed on. Yields each new stream.
    def commit(batch, tag, now)
      batch.each do |id, mine|
        is_new = !@streams.key?(id)
        stream = touch(id, tag, now)
        stream.duplicates += mine.duplicates
        stream.commit(mine.numbers, mine.gaps)
        yield stream if is_new
      end
    end

    # Forgets streams that were silent for too long, and those above the bound; returns them.
    def expire(now)
      forgotten = []
      @streams.each_value do |stream|
        break if stream.touched > now - @silence && @streams.size - forgotten.size <= @streams_max

        forgotten << stream
      end
      forgotten.each { |stream| @streams.delete(stream.id) }
    end

    private

    def stamp_of(record)
      stamp = record[@stamp_key] if record.is_a?(Hash)
      # A text that is not valid UTF-8 cannot be matched, and is never a stamp.
      STAMP.match(stamp) if stamp.is_a?(String) && stamp.bytesize == 23 && stamp.ascii_only?
    end

    def touch(id, tag, now)
      stream = @streams.delete(id) || Stream.new(id, tag, @ranges_max)
      stream.touched = now
      @streams[id] = stream
    end

    def note_gap(gap, gaps)
      return unless gap.is_a?(Array)

      first, last = gap
      return unless first.is_a?(Integer) && last.is_a?(Integer)

      gaps << [first, last] if first.between?(1, last)
    end
  end
end
